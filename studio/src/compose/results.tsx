import { useState } from 'preact/hooks';

import { fileUrl, thumbnailUrl } from '../api/client';
import type { Job } from '../api/types';
import { jobs } from '../state';
import { useStore } from '../store';
import { Dialog, IconButton } from '../ui/kit';
import { shown, started, view } from './document';

/// The pictures of this page's jobs, the newest first; the one that is chosen lies under the regions.

const kMostResults = 40;

function ownJobs(): Job[] {
  return started.get().map((id) => jobs.get().get(id)).filter((job) => job !== undefined);
}

function showNewest(path: string) {
  shown.set({ url: fileUrl(path), path });
  view.set((old) => (old.shade === 'fill' ? { ...old, shade: 'outline' } : old));
}

/// What this page's jobs have to show: the last preview of the one that runs, the newest picture.
function latest() {
  const own = ownJobs();
  const previews = own.find((job) => job.state === 'running')?.previews ?? [];
  const preview = previews.length > 0 ? fileUrl(previews.at(-1)!, String(previews.length)) : '';
  return { preview, picture: own.flatMap(picturesOf)[0] ?? '' };
}

let isFollowing = false;

/// Shows what this page's jobs paint when it comes, whichever page is open then: what was there before takes
/// the place of nothing that somebody opened since.
export function followResults() {
  if (isFollowing) return;
  isFollowing = true;
  let last: ReturnType<typeof latest> | undefined; // once the list of jobs is there
  const follow = () => {
    const isKnown = last !== undefined || started.get().length === 0 || jobs.get().size > 0;
    if (!isKnown) return;
    const now = latest();
    const before = last ?? (shown.get()?.path ? now : { preview: '', picture: '' });
    last = now;
    if (now.picture && now.picture !== before.picture) showNewest(now.picture);
    else if (now.preview && now.preview !== before.preview) shown.set({ url: now.preview, path: '' });
  };
  jobs.watch(follow);
  started.watch(follow);
  follow();
}

export function Results() {
  const all = useStore(jobs);
  const ids = useStore(started);
  const current = useStore(shown);
  const [grid, setGrid] = useState<Job | null>(null);
  const own = ids.map((id) => all.get(id)).filter((job) => job !== undefined);
  const pictures = own.flatMap((job) => picturesOf(job).map((path) => ({ job, path })));
  if (pictures.length === 0) return null;
  return (
    <section class="results" aria-label="Pictures of this scene">
      <button
        class={`result blank ${current ? '' : 'on'}`} aria-pressed={!current} title="The empty canvas"
        onClick={() => { shown.set(null); view.set((old) => ({ ...old, shade: 'fill' })); }}
      >
        Canvas
      </button>
      {pictures.slice(0, kMostResults).map(({ job, path }) => (
        <button
          key={path} class={`result ${current?.path === path ? 'on' : ''}`} aria-pressed={current?.path === path}
          aria-label={`Show ${path}`} onClick={() => shown.set({ url: fileUrl(path), path })}
          onDblClick={() => setGrid(job)}
        >
          <img src={thumbnailUrl(path)} alt="" loading="lazy" />
        </button>
      ))}
      {own.some((job) => picturesOf(job).length > 1) && (
        <IconButton icon="gallery" label="All seeds of the newest job side by side" onClick={() => setGrid(own.find((job) => picturesOf(job).length > 1) ?? null)} />
      )}
      {grid && <SeedGrid job={grid} onClose={() => setGrid(null)} />}
    </section>
  );
}

export function picturesOf(job: Job): string[] {
  return job.dry_run || job.kind !== 'sample' ? [] : job.results.filter((path) => path.endsWith('.png'));
}

function SeedGrid({ job, onClose }: { job: Job; onClose: () => void }) {
  const seed = Number(job.options.seed ?? 0);
  const choose = (path: string) => {
    shown.set({ url: fileUrl(path), path });
    onClose();
  };
  return (
    <Dialog title={job.title} wide onClose={onClose}>
      <div class="seed-grid">
        {picturesOf(job).map((path, index) => (
          <button key={path} class="result" aria-label={`Show seed ${seed + index}`} onClick={() => choose(path)}>
            <img src={fileUrl(path)} alt="" />
            <span class="mono">seed {seed + index}</span>
          </button>
        ))}
      </div>
    </Dialog>
  );
}
