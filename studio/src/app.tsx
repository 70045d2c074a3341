import { useEffect, useLayoutEffect, useState } from 'preact/hooks';

import { api, type Failure } from './api/client';
import { ComposePage } from './compose/page';
import { ConceptsPage } from './concepts/page';
import { GalleryPage } from './gallery/page';
import { Dock } from './queue/dock';
import { route } from './route';
import { attempt, dismiss, goToFirstPage, info, report, start, startFailure, toasts } from './state';
import { useStore } from './store';
import { theme, type Theme } from './theme';
import { TogetherPage } from './together/page';
import { Icon, type IconName } from './ui/icons';
import { isDialogOpen, isTyping } from './ui/keys';
import { Button, Dialog, Empty, IconButton } from './ui/kit';

interface PageEntry {
  name: string;
  title: string;
  icon: IconName;
  draw: () => preact.JSX.Element;
}

const kPages: PageEntry[] = [
  { name: 'concepts', title: 'Concepts', icon: 'concepts', draw: () => <ConceptsPage /> },
  { name: 'together', title: 'Together', icon: 'together', draw: () => <TogetherPage /> },
  { name: 'compose', title: 'Compose', icon: 'compose', draw: () => <ComposePage /> },
  { name: 'gallery', title: 'Gallery', icon: 'gallery', draw: () => <GalleryPage /> },
];

export function App() {
  const { page } = useStore(route);
  const failure = useStore(startFailure);
  const isThere = useStore(info, (value) => value !== null); // what is kept of the last visit goes by the folder that answers
  useEffect(() => void start(), []);
  useLayoutEffect(listenToKeys, []);
  useEffect(() => {
    if (page === '' && info.get()) void attempt(goToFirstPage); // the wordmark
  }, [page]);
  const entry = kPages.find((other) => other.name === page) ?? kPages[2]!;
  useEffect(() => {
    document.title = `${entry.title} · mixofshow`;
  }, [entry]);
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={skip}>Skip to the page</a>
      <header class="top">
        <a class="wordmark" href="#/" aria-label="mixofshow studio: the first page">
          <Mark />
          mixofshow
        </a>
        <nav aria-label="Pages">
          {kPages.map(({ name, title, icon }, at) => (
            <a
              key={name} href={`#/${name}`} title={`${title} (Alt+${at + 1})`}
              aria-current={page !== '' && entry.name === name ? 'page' : undefined}
            >
              <Icon name={icon} />
              {title}
            </a>
          ))}
        </nav>
        <span class="grow wide-only" />
        <ThemeButton />
      </header>
      <main class="page" id="main" tabIndex={-1}>
        {failure ? <NoServer failure={failure} /> : isThere && page !== '' && entry.draw()}
      </main>
      <Dock />
      <Toasts />
      <ReportDialog />
    </div>
  );
}

function ReportDialog() {
  const told = useStore(report);
  if (!told) return null;
  return (
    <Dialog title={told.title} onClose={() => report.set(null)}>
      <ul class="report">
        {told.lines.map(({ name, text }, at) => <li key={at}>{!saysItself(name, text) && <b>{name} </b>}{text}</li>)}
      </ul>
    </Dialog>
  );
}

/// What the server says of a file begins with its name as a rule.
function saysItself(name: string, text: string): boolean {
  return text.includes(name.split('/').pop() ?? name);
}

function Mark() {
  return (
    <svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true">
      <rect x="1" y="1" width="8" height="18" rx="2" fill="var(--region-0)" />
      <rect x="11" y="1" width="8" height="8" rx="2" fill="var(--region-1)" />
      <rect x="11" y="11" width="8" height="8" rx="2" fill="var(--region-2)" />
    </svg>
  );
}

const kThemes: Record<Theme, { next: Theme; icon: IconName; label: string }> = {
  auto: { next: 'light', icon: 'auto', label: 'Colours: as the system' },
  light: { next: 'dark', icon: 'sun', label: 'Colours: light' },
  dark: { next: 'auto', icon: 'moon', label: 'Colours: dark' },
};

function ThemeButton() {
  const { next, icon, label } = kThemes[useStore(theme)];
  return <IconButton icon={icon} label={label} onClick={() => theme.set(next)} />;
}

function NoServer({ failure }: { failure: Failure }) {
  const [token, setToken] = useState('');
  const [refusal, setRefusal] = useState('');
  const unlock = async () => {
    try {
      await api.login(token.trim());
      await start();
    } catch (error) {
      setRefusal(error instanceof Error ? error.message : String(error));
    }
  };
  if (failure.status === 401) {
    return (
      <Empty icon="lock" title="This studio asks for its token">
        <p>It was printed once where the studio was started.</p>
        <form class="row" onSubmit={(event) => { event.preventDefault(); void unlock(); }}>
          <input
            type="password" aria-label="Token" value={token} autocomplete="current-password"
            onInput={(event) => { setToken(event.currentTarget.value); setRefusal(''); }}
          />
          <button class="button primary">Open</button>
        </form>
        {refusal && <p class="wrong" role="alert">{refusal}</p>}
      </Empty>
    );
  }
  return (
    <Empty icon="warning" title="No connection to the studio">
      <p>{failure.message}</p>
      <Button kind="primary" icon="repeat" onClick={() => void start()}>Try again</Button>
    </Empty>
  );
}

function Toasts() {
  const list = useStore(toasts);
  return (
    <div class="toasts" role="log" aria-live="polite">
      {list.map((toast) => (
        <div key={toast.id} class={`toast ${toast.kind}`} role={toast.kind === 'error' ? 'alert' : undefined}>
          <span>{toast.text}</span>
          {toast.action && (
            <Button class="small" onClick={() => { toast.action?.run(); dismiss(toast.id); }}>
              {toast.action.label}
            </Button>
          )}
          <IconButton class="small" icon="close" label="Dismiss" onClick={() => dismiss(toast.id)} />
        </div>
      ))}
    </div>
  );
}

function skip(event: Event) {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

function listenToKeys() {
  const onKey = (event: KeyboardEvent) => {
    if (isDialogOpen()) return;
    const digit = Number(event.key);
    if (event.altKey && digit >= 1 && digit <= kPages.length) {
      event.preventDefault();
      location.hash = `/${kPages[digit - 1]!.name}`;
    }
    if (event.key.toLowerCase() === 'q' && !isTyping(event) && !event.ctrlKey && !event.metaKey) {
      document.querySelector<HTMLElement>('[data-queue-toggle]')?.click();
    }
  };
  window.addEventListener('keydown', onKey);
  return () => window.removeEventListener('keydown', onKey);
}
