import type { ButtonHTMLAttributes, ComponentChildren } from 'preact';
import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';

import { Icon, type IconName } from './icons';
import { taken, useTyped } from './typed';

/// The few parts that pages are made of. Each has a name for screen readers and works by keyboard.

type ButtonAttributes = Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'icon' | 'label' | 'disabled'>;

interface ButtonProps extends ButtonAttributes {
  icon?: IconName;
  kind?: 'plain' | 'primary' | 'quiet' | 'danger';
  disabled?: boolean;
  busy?: boolean;
}

export function Button({ icon, kind = 'plain', busy, children, class: more, ...rest }: ButtonProps) {
  return (
    <button type="button" class={`button ${kind} ${more ?? ''}`} aria-busy={busy} {...rest}>
      {busy ? <span class="spinner" aria-hidden="true" /> : icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

interface IconButtonProps extends ButtonAttributes {
  icon: IconName;
  label: string;
  keys?: string;
  pressed?: boolean;
  disabled?: boolean;
  filled?: boolean;
}

/// A button of an icon alone; `keys` is the shortcut that its hint names.
export function IconButton({ icon, label, keys, pressed, filled, class: more, ...rest }: IconButtonProps) {
  return (
    <button
      type="button" class={`icon-button ${more ?? ''}`} aria-label={label}
      title={keys ? `${label} (${keys})` : label} aria-pressed={pressed} {...rest}
    >
      <Icon name={icon} filled={filled ?? false} />
    </button>
  );
}

/// A label, a control and what there is to say about it. The control gets the id that it is given.
export function Labelled(props: {
  label: ComponentChildren;
  hint?: ComponentChildren;
  error?: string | undefined;
  children: (id: string, describedBy: string) => ComponentChildren;
}) {
  const id = useId();
  return (
    <div class="labelled">
      <label for={id}>{props.label}</label>
      {props.children(id, `${id}-hint`)}
      <div id={`${id}-hint`} class={props.error ? 'hint wrong' : 'hint'}>
        {props.error ?? props.hint}
      </div>
    </div>
  );
}

/// A slider beside its number.
export function Slider(props: {
  label: string;
  value: number;
  least: number;
  most: number;
  step: number;
  hint?: string;
  onChange: (value: number) => void;
}) {
  const id = useId();
  const range = { min: props.least, max: props.most, step: props.step, value: props.value };
  const take = (typed: number) => taken(typed, props.value, props);
  const { field, refusal } = useTyped(props.label, props.value, take, props.onChange);
  const share = (props.value - props.least) / (props.most - props.least || 1);
  return (
    <div class="slider" title={props.hint}>
      <label for={id}>{props.label}</label>
      <input
        id={id} type="range" {...range} onInput={(event) => props.onChange(event.currentTarget.valueAsNumber)}
        style={{ '--share': `${Math.round(share * 100)}%` }}
      />
      <input class="number" aria-label={`${props.label}, number`} {...range} {...field} />
      {refusal && <div class="hint wrong">{refusal}</div>}
    </div>
  );
}

export function Switch(props: {
  label: string;
  checked: boolean;
  onChange: (checked: boolean) => void;
  hint?: string;
}) {
  return (
    <label class="switch" title={props.hint}>
      <input
        type="checkbox" role="switch" checked={props.checked}
        onChange={(event) => props.onChange(event.currentTarget.checked)}
      />
      <span class="track" aria-hidden="true" />
      <span>{props.label}</span>
    </label>
  );
}

export function Segments<T extends string>(props: {
  label: string;
  value: T;
  choices: { value: T; label: string; note?: string }[]; ///< `note` says what waits behind it: a dot that can be read.
  onChange: (value: T) => void;
}) {
  return (
    <div class="segments" role="radiogroup" aria-label={props.label}>
      {props.choices.map((choice) => (
        <label key={choice.value} class={choice.value === props.value ? 'on' : ''} title={choice.note}>
          <input
            type="radio" name={props.label} checked={choice.value === props.value}
            onChange={() => props.onChange(choice.value)}
          />
          {choice.label}
          {choice.note && <span class="mark"><span class="hidden-name">, {choice.note}</span></span>}
        </label>
      ))}
    </div>
  );
}

/// A button that opens a list of commands. Arrow keys move in it, Escape closes.
export function Menu(props: {
  label: string;
  icon?: IconName;
  text?: string;
  kind?: 'plain' | 'quiet' | 'primary';
  children: (close: () => void) => ComponentChildren;
}) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (!open) return;
    const outside = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener('pointerdown', outside);
    root.current?.querySelector<HTMLElement>('[role=menuitem]')?.focus();
    return () => document.removeEventListener('pointerdown', outside);
  }, [open]);
  const onKey = (event: KeyboardEvent) => {
    if (!open) return;
    const items = [...(root.current?.querySelectorAll<HTMLElement>('[role=menuitem]') ?? [])];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step !== 0) items[(at + step + items.length) % items.length]?.focus();
    if (event.key === 'Escape') {
      setOpen(false);
      root.current?.querySelector('button')?.focus();
    }
    if (step !== 0 || event.key === 'Escape') {
      event.preventDefault();
      event.stopPropagation();
    }
  };
  return (
    <div class="menu" ref={root} onKeyDown={onKey}>
      {props.text ? (
        <Button
          icon={props.icon} kind={props.kind ?? 'plain'} aria-label={props.label}
          aria-haspopup="menu" aria-expanded={open} onClick={() => setOpen(!open)}
        >
          {props.text}
        </Button>
      ) : (
        <IconButton
          icon={props.icon ?? 'more'} label={props.label}
          aria-haspopup="menu" aria-expanded={open} onClick={() => setOpen(!open)}
        />
      )}
      {open && (
        <div class="menu-list" role="menu" aria-label={props.label}>
          {props.children(() => setOpen(false))}
        </div>
      )}
    </div>
  );
}

export function MenuItem(props: { icon?: IconName; keys?: string; danger?: boolean; disabled?: boolean; onClick: () => void; children: ComponentChildren }) {
  return (
    <button
      type="button" role="menuitem" class={props.danger ? 'danger' : ''}
      disabled={props.disabled ?? false} onClick={props.onClick}
    >
      {props.icon && <Icon name={props.icon} />}
      <span>{props.children}</span>
      {props.keys && <kbd>{props.keys}</kbd>}
    </button>
  );
}

/// A dialog over the page; the browser keeps the focus inside.
/// Closed by Escape, a press beside it or its button, and with the page that is left; where something would be
/// `unsaved`, only after a question.
export function Dialog(props: {
  title: string;
  onClose: () => void;
  unsaved?: string | false; ///< What closing would lose: "The strokes are not saved."
  wide?: boolean;
  children: ComponentChildren;
  actions?: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [asks, setAsks] = useState(false);
  const pressedBeside = useRef(false); // a stroke that ends beside the dialog is no press there
  useLayoutEffect(() => {
    dialog.current?.showModal();
  }, []);
  const leave = () => {
    if (props.unsaved) setAsks(true);
    else props.onClose();
  };
  const onCancel = (event: Event) => {
    event.preventDefault();
    leave();
  };
  const onClose = () => { // by a second Escape, which a browser lets nobody prevent
    if (props.unsaved) dialog.current?.showModal();
    leave();
  };
  return (
    <dialog
      ref={dialog} class={props.wide ? 'dialog wide' : 'dialog'} aria-label={props.title} data-unsaved={props.unsaved || undefined}
      onCancel={onCancel} onClose={onClose}
      onPointerDown={(event) => { pressedBeside.current = event.target === dialog.current; }}
      onClick={(event) => event.target === dialog.current && pressedBeside.current && leave()}
    >
      <header>
        <h2>{props.title}</h2>
        <IconButton icon="close" label="Close" onClick={leave} />
      </header>
      <div class="dialog-body">{props.children}</div>
      {asks && props.unsaved ? (
        <footer role="group" aria-label={props.unsaved}>
          <span class="grow">{props.unsaved}</span>
          <Button kind="danger" onClick={props.onClose}>Discard</Button>
          <Button kind="primary" onClick={() => setAsks(false)}>Go on</Button>
        </footer>
      ) : (
        props.actions && <footer>{props.actions}</footer>
      )}
    </dialog>
  );
}

export function Empty(props: { icon: IconName; title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={props.icon} size={36} />
      <h2>{props.title}</h2>
      {props.children}
    </div>
  );
}

async function intoClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // forbidden, or not there: over http a browser has none but for its own machine
  }
}

/// The old way. Where that fails too, what is to be copied is at least selected.
function selectAndCopy(element: HTMLElement): boolean {
  window.getSelection()?.selectAllChildren(element);
  return document.execCommand('copy');
}

/// A line of text to copy, such as a command.
export function Copyable({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  const code = useRef<HTMLElement>(null);
  const copy = async () => {
    if (!(await intoClipboard(text)) && !selectAndCopy(code.current!)) return;
    setCopied(true);
    window.setTimeout(() => setCopied(false), 1500);
  };
  return (
    <div class="copyable">
      <code ref={code}>{text.split(' ').map((word, at) => <>{at > 0 && ' '}<span>{word}</span></>)}</code>
      <IconButton icon={copied ? 'check' : 'copy'} label={copied ? 'Copied' : label} onClick={copy} />
    </div>
  );
}
