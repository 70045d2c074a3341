import { useEffect, useState } from 'preact/hooks';

import { api, fileUrl } from '../api/client';
import type { Picture, PictureDetail } from '../api/types';
import { openRecord } from '../compose/files';
import { view } from '../compose/document';
import { labelOf, textOf } from '../forms/schema';
import { go } from '../route';
import { attempt, sayDeleted } from '../state';
import { when } from '../ui/format';
import { Icon } from '../ui/icons';
import { Button, Copyable, Dialog, IconButton, Slider } from '../ui/kit';

/// One picture with all of its fields; two side by side.

export function Detail(props: { picture: Picture; onClose: () => void; onStep: (by: number) => void }) {
  const { picture } = props;
  const [detail, setDetail] = useState<PictureDetail | null>(null);
  const [lost, setLost] = useState(0); // the picture whose file is not there
  const gone = lost === picture.id;
  useEffect(() => void attempt(async () => setDetail(await api.picture(picture.id))), [picture.id]);
  const onKey = (event: KeyboardEvent) => {
    if ((event.target as HTMLElement).closest('input, textarea')) return;
    if (event.key === 'ArrowLeft') props.onStep(-1);
    if (event.key === 'ArrowRight') props.onStep(1);
  };
  const open = () =>
    attempt(async () => {
      await openRecord(await readRecord(picture), { shown: { url: fileUrl(picture.path), path: picture.path } });
      view.set((old) => ({ ...old, shade: 'outline' })); // the picture is what is looked at
      props.onClose();
      go('compose');
    });
  const star = () => attempt(() => api.changePicture(picture.id, { starred: !picture.starred }));
  const remove = () =>
    attempt(async () => {
      const gone = await api.removePictures([picture.id]);
      props.onClose();
      sayDeleted('The picture is', gone);
    });
  return (
    <Dialog title={picture.path.split('/').pop() ?? ''} wide onClose={props.onClose}>
      <div class="detail" onKeyDown={onKey}>
        <figure>
          {gone ? <Gone /> : <img src={api.pictureUrl(picture.id)} alt={picture.prompt} onError={() => setLost(picture.id)} />}
          <div class="row detail-steps">
            <IconButton icon="up" class="turn" label="Newer picture" keys="←" onClick={() => props.onStep(-1)} />
            <IconButton icon="down" class="turn" label="Older picture" keys="→" onClick={() => props.onStep(1)} />
          </div>
        </figure>
        <div class="stack">
          <p class="detail-prompt">{picture.prompt || 'no prompt'}</p>
          <div class="row wrap">
            <Button kind="primary" icon="compose" disabled={gone} onClick={() => void open()}>Open in Compose</Button>
            <IconButton icon="star" filled={picture.starred} pressed={picture.starred} label={picture.starred ? 'Take the star away' : 'Star'} onClick={() => void star()} />
            {!gone && <a class="icon-button" href={api.pictureUrl(picture.id)} download={picture.path.split('/').pop()} aria-label="Download" title="Download"><Icon name="download" /></a>}
            <IconButton icon="trash" label="Delete" onClick={() => void remove()} />
          </div>
          {gone && <p class="finding warning"><Icon name="warning" size={16} /><span>{picture.path} is not in the studio’s folder any more. Put it back there, or delete it here to take it off the list.</span></p>}
          <Note picture={picture} />
          <Facts picture={picture} record={detail?.record ?? null} />
          {detail?.command && (
            <>
              <h3>The command for this</h3>
              <Copyable text={detail.command} label="Copy the command" />
            </>
          )}
        </div>
      </div>
    </Dialog>
  );
}

/// In place of a picture whose file was taken away.
export function Gone() {
  return <span class="gone"><Icon name="picture" size={24} />its file is gone</span>;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

async function readRecord(picture: Picture) {
  const bytes = await (await fetch(api.pictureUrl(picture.id))).blob();
  return api.readPicture(new Blob([bytes], { type: 'image/png' }));
}

function Note({ picture }: { picture: Picture }) {
  const save = (note: string) => {
    if (note !== picture.note) void attempt(() => api.changePicture(picture.id, { note }));
  };
  return (
    <input
      type="text" key={picture.id} aria-label="Note" placeholder="A note, found by search" defaultValue={picture.note}
      onChange={(event) => save(event.currentTarget.value)}
    />
  );
}

function Facts({ picture, record }: { picture: Picture; record: Record<string, unknown> | null }) {
  const facts: [string, string][] = [
    ['Size', `${picture.width} × ${picture.height}`],
    ['Seed', picture.seed === null ? '' : String(picture.seed)],
    ['Made', when(picture.created)],
  ];
  for (const [name, value] of Object.entries(record ?? {})) {
    const plain = ['string', 'number', 'boolean'].includes(typeof value) || Array.isArray(value);
    if (!plain || ['prompt', 'seed', 'width', 'height'].includes(name)) continue;
    const text = Array.isArray(value) && value.some(isRecord) ? `${value.length}` : textOf(value);
    facts.push([labelOf(name), text]);
  }
  return (
    <dl class="facts">
      {facts.filter(([, text]) => text !== '').map(([name, text]) => (
        <div key={name}><dt>{name}</dt><dd>{text}</dd></div>
      ))}
    </dl>
  );
}

/// Two pictures in one place, the border between them moves.
export function Compare({ pair: [left, right], onClose }: { pair: [Picture, Picture]; onClose: () => void }) {
  const [split, setSplit] = useState(0.5);
  const same = left.width * right.height === right.width * left.height;
  const picture = (one: Picture) => <img src={api.pictureUrl(one.id)} alt={one.prompt} />;
  return (
    <Dialog title="Two pictures" wide onClose={onClose}>
      {same && (
        <>
          <div class="over" style={{ '--split': `${split * 100}%` }}>
            {picture(left)}
            {picture(right)}
          </div>
          <Slider label="Left one · right one" value={split} least={0} most={1} step={0.01} onChange={setSplit} />
        </>
      )}
      <div class="pair">
        {[left, right].map((one) => (
          <figure key={one.id}>
            {!same && picture(one)}
            <figcaption class="soft">{one.prompt} <span class="mono">seed {one.seed ?? '?'}</span></figcaption>
          </figure>
        ))}
      </div>
    </Dialog>
  );
}
