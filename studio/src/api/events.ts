import { plainly } from './plain';

/// What the server tells while the page is looked at: one stream, and polling where there is none. A page that
/// nobody sees has neither: a browser has few connections to a server, for all tabs together.

export type Listener = (event: string, data: Record<string, unknown>) => void;
export type Link = 'live' | 'polling' | 'offline';

const kNames = [
  'hello', 'reset', 'job', 'queue', 'progress', 'preview', 'log', 'gallery', 'concept', 'files',
  'notice',
];
const kPollMilliseconds = 1500;
const kStreamAgainMilliseconds = 15_000;
const kNoToken = 401;

/// Ends with the call of what it returns, or with that of `onLocked`: the server asks for a token.
export function listen(listener: Listener, onLink: (link: Link) => void, onLocked: () => void): () => void {
  let source: EventSource | null = null;
  let timer = 0;
  let last: number | undefined;
  let turn = 0; // counts up when the page is hidden, which ends what is under way

  const openStream = () => {
    source = new EventSource('/mos/v1/events');
    for (const name of kNames) {
      source.addEventListener(name, (message) => {
        const { data, lastEventId } = message as MessageEvent<string>;
        if (lastEventId) last = Number(lastEventId);
        onLink('live');
        listener(name, plainly(JSON.parse(data)));
      });
    }
    source.onerror = () => {
      // The browser tries again by itself, but not after a refusal such as 503.
      if (source?.readyState !== EventSource.CLOSED) return onLink('offline');
      source = null;
      void poll(Date.now(), turn);
    };
  };

  const poll = async (since: number, own: number) => {
    if (Date.now() - since > kStreamAgainMilliseconds) return openStream();
    try {
      const response = await fetch(`/mos/v1/events/poll${last === undefined ? '' : `?after=${last}`}`);
      if (own !== turn) return;
      if (response.status === kNoToken) return lock();
      if (!response.ok) throw new Error(String(response.status));
      const answer = await response.json();
      if (own !== turn) return;
      onLink('polling');
      const isFirst = last === undefined;
      last = answer.last;
      if (isFirst) listener('hello', { last }); // as a stream begins
      for (const { event, data } of answer.events) listener(event, plainly(data));
    } catch {
      if (own !== turn) return;
      onLink('offline');
    }
    timer = window.setTimeout(() => poll(since, own), kPollMilliseconds);
  };

  const rest = () => {
    ++turn;
    source?.close();
    source = null;
    window.clearTimeout(timer);
  };
  const onSight = () => {
    rest();
    if (!document.hidden) openStream();
  };
  const close = () => {
    document.removeEventListener('visibilitychange', onSight);
    rest();
  };
  const lock = () => {
    close();
    onLocked();
  };

  document.addEventListener('visibilitychange', onSight);
  onSight();
  return close;
}
