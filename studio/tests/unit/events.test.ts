import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { listen, type Link } from '../../src/api/events';

/// Streams that were opened, as a browser has them.
class Stream extends EventTarget {
  static CLOSED = 2;
  static all: Stream[] = [];
  readyState = 1;
  onerror: (() => void) | null = null;

  constructor() {
    super();
    Stream.all.push(this);
  }

  close() {
    this.readyState = Stream.CLOSED;
  }

  tell(name: string, data: object, lastEventId: string) {
    this.dispatchEvent(Object.assign(new Event(name), { data: JSON.stringify(data), lastEventId }));
  }

  refuse() {
    this.close();
    this.onerror?.();
  }
}

const page = Object.assign(new EventTarget(), { hidden: false });
const isOpen = () => Stream.all.map((stream) => stream.readyState !== Stream.CLOSED);
const see = (isSeen: boolean) => {
  page.hidden = !isSeen;
  page.dispatchEvent(new Event('visibilitychange'));
};
const answers = vi.fn<(path: string) => { status: number; body?: object }>();
let events: string[] = [];
let links: Link[] = [];
let locked = 0;
let close = () => {};

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('EventSource', Stream);
  vi.stubGlobal('document', page);
  vi.stubGlobal('window', globalThis);
  vi.stubGlobal('fetch', async (path: string) => {
    const { status, body } = answers(path);
    return { ok: status === 200, status, json: async () => body };
  });
  Stream.all = [];
  page.hidden = false;
  events = [];
  links = [];
  locked = 0;
  answers.mockReset();
});

afterEach(() => {
  close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const begin = () => { close = listen((event) => events.push(event), (link) => links.push(link), () => ++locked); };

test('a page that nobody sees holds no stream, and has a new one when it is seen again', () => {
  begin();
  Stream.all[0]!.tell('hello', { last: 3 }, '3');
  see(false);
  expect(isOpen()).toEqual([false]);
  see(true);
  expect(isOpen()).toEqual([false, true]);
  close();
  see(false);
  see(true);
  expect(isOpen()).toEqual([false, false]);
});

test('a page that was opened behind another one waits until it is seen', () => {
  page.hidden = true;
  begin();
  expect(Stream.all).toHaveLength(0);
  see(true);
  expect(isOpen()).toEqual([true]);
});

test('what a page without a stream asks for begins as a stream does', async () => {
  answers.mockImplementation((path) => ({ status: 200, body: { last: 8, events: path.endsWith('poll') ? [] : [{ event: 'files', data: {} }] } }));
  begin();
  Stream.all[0]!.refuse();
  await vi.advanceTimersByTimeAsync(0);
  expect(events).toEqual(['hello']);
  await vi.advanceTimersByTimeAsync(2000);
  expect(events).toEqual(['hello', 'files']);
  expect(answers.mock.calls).toEqual([['/mos/v1/events/poll'], ['/mos/v1/events/poll?after=8']]);
  expect(links).toEqual(['polling', 'polling']);
  see(false);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(answers).toHaveBeenCalledTimes(2);
});

test('a server that asks for a token is not asked again and again', async () => {
  answers.mockReturnValue({ status: 401 });
  begin();
  Stream.all[0]!.refuse();
  await vi.advanceTimersByTimeAsync(60_000);
  expect([locked, answers.mock.calls.length, Stream.all.length]).toEqual([1, 1, 1]);
});

test('a server that does not answer is asked until it does', async () => {
  answers.mockReturnValue({ status: 500 });
  begin();
  Stream.all[0]!.refuse();
  await vi.advanceTimersByTimeAsync(4000);
  expect([locked, links]).toEqual([0, ['offline', 'offline', 'offline']]);
});
