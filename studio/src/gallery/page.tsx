import { useEffect, useMemo, useReducer, useRef, useState } from 'preact/hooks';

import { api } from '../api/client';
import type { Picture } from '../api/types';
import { openFiles } from '../compose/files';
import { droppedFiles } from '../concepts/dropped';
import { go } from '../route';
import { attempt, galleryVersion, sayDeleted } from '../state';
import { useStore } from '../store';
import { Icon } from '../ui/icons';
import { useKept } from '../ui/kept';
import { Button, Empty, IconButton } from '../ui/kit';
import { isTyping } from '../ui/keys';
import { Compare, Detail, Gone } from './detail';
import { rowsInSight, Shelf, type Filter } from './pages';

/// All pictures with their records. Only the rows in sight are in the page.

const kGap = 10;
const kTile = 176; ///< Least width of a tile.
const kSearchMilliseconds = 250;

export function GalleryPage() {
  const [filter, setFilter] = useKept<Filter>('gallery', { search: '', starred: false });
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const shelf = useMemo(() => new Shelf(filter, () => redraw(undefined)), [filter]);
  const version = useStore(galleryVersion);
  const [chosen, setChosen] = useState<ReadonlySet<number>>(new Set());
  const [open, setOpen] = useState<Picture | null>(null); // stays while another search is on its way
  const [compare, setCompare] = useState<[Picture, Picture] | null>(null);
  const [ready, setReady] = useState(false);
  useEffect(() => void attempt(() => shelf.refresh()).then(() => setReady(true)), [shelf, version]);
  const opened = shelf.pictures.findIndex((picture) => picture.id === open?.id);
  const pair = shelf.pictures.filter((picture) => chosen.has(picture.id));
  const drop = async (event: DragEvent) => {
    event.preventDefault();
    if (!event.dataTransfer?.types.includes('Files')) return;
    const dropped = await droppedFiles(event.dataTransfer);
    go('compose');
    await openFiles(dropped);
  };
  return (
    <div class="gallery" onDragOver={(event) => event.preventDefault()} onDrop={(event) => void drop(event)}>
      <h1 class="hidden-name">Gallery</h1>
      <GalleryBar
        filter={filter} onFilter={setFilter} total={shelf.total} chosen={pair}
        onClear={() => setChosen(new Set())} onCompare={() => setCompare([pair[0]!, pair[1]!])}
      />
      {ready && shelf.total === 0 ? (
        <Nothing filtered={!!filter.search || filter.starred} />
      ) : (
        <Wall shelf={shelf} chosen={chosen} onChoose={setChosen} onOpen={(id) => setOpen(shelf.pictures.find((picture) => picture.id === id) ?? null)} />
      )}
      {open && (
        <Detail
          picture={shelf.pictures[opened] ?? open} onClose={() => setOpen(null)}
          onStep={(by) => void step(shelf, opened + by, setOpen)}
        />
      )}
      {compare && <Compare pair={compare} onClose={() => setCompare(null)} />}
    </div>
  );
}

async function step(shelf: Shelf, index: number, setOpen: (picture: Picture) => void) {
  await shelf.reach(index);
  const picture = shelf.pictures[index];
  if (picture) setOpen(picture);
}

function Nothing({ filtered }: { filtered: boolean }) {
  if (filtered) {
    return <Empty icon="search" title="No picture is like that"><p>Search looks into prompts and notes.</p></Empty>;
  }
  return (
    <Empty icon="gallery" title="No pictures yet">
      <p>What you paint appears here, with everything that is needed to paint it again. Drop a PNG from mixofshow, A1111 or ComfyUI to have its fields back.</p>
      <Button kind="primary" icon="compose" onClick={() => go('compose')}>Compose a scene</Button>
    </Empty>
  );
}

function GalleryBar(props: {
  filter: Filter;
  onFilter: (filter: Filter) => void;
  total: number;
  chosen: Picture[];
  onClear: () => void;
  onCompare: () => void;
}) {
  const { filter, chosen } = props;
  const timer = useRef(0);
  const search = (text: string) => {
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => props.onFilter({ ...filter, search: text }), kSearchMilliseconds);
  };
  const ids = chosen.map((picture) => picture.id);
  const remove = () =>
    attempt(async () => {
      sayDeleted(ids.length === 1 ? 'The picture is' : `${ids.length} pictures are`, await api.removePictures(ids));
      props.onClear();
    });
  const starAll = () =>
    attempt(() => Promise.all(ids.map((id) => api.changePicture(id, { starred: !chosen.every((one) => one.starred) }))));
  return (
    <div class="gallery-bar">
      <input type="search" placeholder="Search prompts" aria-label="Search prompts" defaultValue={filter.search} onInput={(event) => search(event.currentTarget.value)} />
      <IconButton
        icon="star" filled={filter.starred} pressed={filter.starred} label="Only starred ones"
        onClick={() => props.onFilter({ ...filter, starred: !filter.starred })}
      />
      <span class="soft wide-only" role="status">{props.total.toLocaleString()} {props.total === 1 ? 'picture' : 'pictures'}</span>
      <span class="grow" />
      {ids.length > 0 && (
        <div class="row chosen-bar">
          <span>{ids.length} chosen</span>
          {ids.length === 2 && <Button class="small" icon="compare" onClick={props.onCompare}>Compare</Button>}
          <IconButton icon="star" label="Star the chosen pictures" onClick={() => void starAll()} />
          <a class="icon-button" href={api.archiveUrl(ids)} download="pictures.zip" aria-label="Download the chosen pictures" title="Download"><Icon name="download" /></a>
          <IconButton icon="trash" label="Delete the chosen pictures" onClick={() => void remove()} />
          <IconButton icon="close" label="Choose none" onClick={props.onClear} />
        </div>
      )}
    </div>
  );
}

interface WallProps {
  shelf: Shelf;
  chosen: ReadonlySet<number>;
  onChoose: (chosen: ReadonlySet<number>) => void;
  onOpen: (id: number) => void;
}

function Wall({ shelf, chosen, onChoose, onOpen }: WallProps) {
  const box = useRef<HTMLDivElement>(null);
  const [scroll, setScroll] = useState({ top: 0, height: 800, width: 1000 });
  const last = useRef(0);
  const measure = () => {
    const element = box.current;
    if (!element) return; // the page is being left
    setScroll({ top: element.scrollTop, height: element.clientHeight, width: element.clientWidth });
  };
  useEffect(() => {
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  const inner = scroll.width - 2 * kGap;
  const columns = Math.max(2, Math.floor((inner + kGap) / (kTile + kGap)));
  const rowHeight = (inner - (columns - 1) * kGap) / columns + kGap;
  const rows = Math.ceil(shelf.total / columns);
  const sight = rowsInSight(scroll, rowHeight, rows);
  const from = sight.first * columns;
  const to = Math.min(shelf.total, (sight.last + 1) * columns);
  useEffect(() => void attempt(() => shelf.reach(to - 1)), [shelf, to]);
  const toggle = (index: number, range: boolean) => {
    const next = new Set(chosen);
    const id = shelf.pictures[index]!.id;
    if (range) {
      const [low, high] = [Math.min(last.current, index), Math.max(last.current, index)];
      for (const picture of shelf.pictures.slice(low, high + 1)) next.add(picture.id);
    } else if (!next.delete(id)) {
      next.add(id);
    }
    last.current = index;
    onChoose(next);
  };
  const onKey = (event: KeyboardEvent) => moveFocus(event, box.current!, columns);
  return (
    <div class="wall" ref={box} onScroll={measure} onKeyDown={onKey}>
      <ul style={{ height: `${rows * rowHeight + kGap}px`, '--columns': columns }} aria-label="Pictures">
        <div class="wall-rows" style={{ translate: `0 ${sight.first * rowHeight + kGap}px`, gridAutoRows: `${rowHeight - kGap}px` }}>
          {Array.from({ length: Math.max(0, to - from) }, (_, at) => from + at).map((index) => (
            <Tile
              key={shelf.pictures[index]?.id ?? `empty-${index}`} picture={shelf.pictures[index]} index={index}
              total={shelf.total} chosen={chosen.has(shelf.pictures[index]?.id ?? -1)} choosing={chosen.size > 0}
              onToggle={(range) => toggle(index, range)} onOpen={onOpen}
            />
          ))}
        </div>
      </ul>
    </div>
  );
}

function Tile(props: {
  picture: Picture | undefined;
  index: number;
  total: number;
  chosen: boolean;
  choosing: boolean;
  onToggle: (range: boolean) => void;
  onOpen: (id: number) => void;
}) {
  const { picture, chosen } = props;
  const [gone, setGone] = useState(false);
  const withShift = useRef(false);
  if (!picture) return <li class="tile blank" aria-hidden="true" />;
  const click = (event: MouseEvent) => {
    if (props.choosing || event.shiftKey || event.ctrlKey || event.metaKey) props.onToggle(event.shiftKey);
    else props.onOpen(picture.id);
  };
  const star = () => attempt(() => api.changePicture(picture.id, { starred: !picture.starred }));
  const name = `picture ${props.index + 1}, ${picture.prompt || picture.path}`; // prompts may be the same
  return (
    <li class={chosen ? 'tile chosen' : 'tile'} aria-setsize={props.total} aria-posinset={props.index + 1}>
      <button class="tile-main" data-index={props.index} aria-label={picture.prompt || picture.path} onClick={click}>
        {gone ? <Gone /> : <img src={api.thumbnailUrl(picture.id)} alt="" loading="lazy" decoding="async" onError={() => setGone(true)} />}
      </button>
      <input
        type="checkbox" aria-label={`Choose ${name}`} checked={chosen}
        onClick={(event) => { withShift.current = event.shiftKey; }} onChange={() => props.onToggle(withShift.current)}
      />
      <IconButton
        class="small" icon="star" filled={picture.starred} pressed={picture.starred}
        label={picture.starred ? `Take the star away from ${name}` : `Star ${name}`} onClick={() => void star()}
      />
    </li>
  );
}

function moveFocus(event: KeyboardEvent, box: HTMLElement, columns: number) {
  const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  const step = steps[event.key];
  const focused = document.activeElement as HTMLElement | null;
  if (step === undefined || isTyping(event) || focused?.dataset.index === undefined) return;
  const next = box.querySelector<HTMLElement>(`[data-index='${Number(focused.dataset.index) + step}']`);
  if (!next) return;
  event.preventDefault();
  next.focus({ preventScroll: false });
}
