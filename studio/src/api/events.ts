import { plainly } from './plain';

/// What the server tells while the page is open: one stream, and polling where there is none.

export type Listener = (event: string, data: Record<string, unknown>) => void;
export type Link = 'live' | 'polling' | 'offline';

const kNames = [
  'hello', 'reset', 'job', 'queue', 'progress', 'preview', 'log', 'gallery', 'concept', 'files',
  'notice',
];
const kPollMilliseconds = 1500;
const kStreamAgainMilliseconds = 15_000;

export function listen(listener: Listener, onLink: (link: Link) => void): () => void {
  let source: EventSource | null = null;
  let timer = 0;
  let last: number | undefined;
  let closed = false;

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
      poll(Date.now());
    };
  };

  const poll = async (since: number) => {
    if (closed) return;
    if (Date.now() - since > kStreamAgainMilliseconds) return openStream();
    try {
      const after = last === undefined ? '' : `?after=${last}`;
      const response = await fetch(`/mos/v1/events/poll${after}`);
      if (!response.ok) throw new Error(String(response.status));
      const answer = await response.json();
      onLink('polling');
      last = answer.last;
      for (const { event, data } of answer.events) listener(event, plainly(data));
    } catch {
      onLink('offline');
    }
    timer = window.setTimeout(() => poll(since), kPollMilliseconds);
  };

  openStream();
  return () => {
    closed = true;
    source?.close();
    window.clearTimeout(timer);
  };
}

