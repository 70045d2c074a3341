import { useEffect, useRef, useState } from 'preact/hooks';

import { api, fileUrl } from '../api/client';
import type { ConceptPicture } from '../api/types';
import { drawStrokes, greyToAlpha, maskPng } from '../scene/mask';
import type { Stroke } from '../scene/model';
import { attempt } from '../state';
import { Button, Dialog, IconButton, Segments, Slider } from '../ui/kit';

/// The mask of one picture, with a brush. It is a file of its own: captions are not touched.

const kPaint = '#e0533d';

export function MaskDialog(props: { concept: string; picture: ConceptPicture; onClose: () => void }) {
  const { concept, picture } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const [strokes, setStrokes] = useState<Stroke[]>([]);
  const [undone, setUndone] = useState<Stroke[]>([]);
  const [current, setCurrent] = useState<Stroke | null>(null);
  const [erase, setErase] = useState<'paint' | 'erase'>('paint');
  const [size, setSize] = useState(Math.max(4, Math.round(Math.max(picture.width, picture.height) / 10)));
  const [under, setUnder] = useState<ImageBitmap | undefined>();
  useEffect(() => {
    if (!picture.mask) return;
    void attempt(async () => {
      const answer = await fetch(fileUrl(picture.mask!, String(Date.now())));
      setUnder(await greyToAlpha(await answer.blob()));
    });
  }, []);
  useEffect(() => {
    const context = canvas.current!.getContext('2d')!;
    context.clearRect(0, 0, picture.width, picture.height);
    drawStrokes(context, current ? [...strokes, current] : strokes, kPaint, under);
  }, [strokes, current, under]);
  const pointOf = (event: PointerEvent): Stroke['points'][number] => {
    const box = canvas.current!.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * picture.width;
    const y = ((event.clientY - box.top) / box.height) * picture.height;
    return [x, y, event.pressure || 0.5];
  };
  const down = (event: PointerEvent) => {
    canvas.current!.setPointerCapture(event.pointerId);
    const erasing = erase === 'erase' || event.altKey;
    setCurrent({ kind: 'brush', points: [pointOf(event)], size, erase: erasing });
  };
  const move = (event: PointerEvent) => {
    if (current) setCurrent({ ...current, points: [...current.points, pointOf(event)] });
  };
  const up = () => {
    if (!current) return;
    setStrokes([...strokes, current]);
    setUndone([]);
    setCurrent(null);
  };
  const undo = () => {
    const last = strokes[strokes.length - 1];
    if (!last) return;
    setStrokes(strokes.slice(0, -1));
    setUndone([last, ...undone]);
  };
  const redo = () => {
    if (undone.length === 0) return;
    setStrokes([...strokes, undone[0]!]);
    setUndone(undone.slice(1));
  };
  const save = () =>
    attempt(async () => {
      await api.putMask(concept, picture.name, await maskPng(strokes, picture.width, picture.height, under));
      props.onClose();
    });
  const remove = () =>
    attempt(async () => {
      await api.removeMask(concept, picture.name);
      props.onClose();
    });
  const onKey = (event: KeyboardEvent) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== 'z') return;
    event.preventDefault();
    if (event.shiftKey) redo();
    else undo();
  };
  return (
    <Dialog
      title={`Mask of ${picture.name}`} wide onClose={props.onClose}
      actions={
        <>
          {picture.mask && <Button kind="danger" onClick={() => void remove()}>Remove the mask</Button>}
          <span class="grow" />
          <Button onClick={props.onClose}>Cancel</Button>
          <Button kind="primary" disabled={strokes.length === 0} onClick={() => void save()}>Save the mask</Button>
        </>
      }
    >
      <div class="row wrap" onKeyDown={onKey}>
        <Segments label="Brush" value={erase} choices={[{ value: 'paint', label: 'Paint' }, { value: 'erase', label: 'Erase' }]} onChange={setErase} />
        <div style={{ width: '220px' }}>
          <Slider label="Brush size" value={size} least={2} most={Math.round(Math.max(picture.width, picture.height) / 3)} step={1} onChange={setSize} />
        </div>
        <IconButton icon="undo" label="Undo" keys="Ctrl Z" disabled={strokes.length === 0} onClick={undo} />
        <IconButton icon="redo" label="Redo" keys="Ctrl Shift Z" disabled={undone.length === 0} onClick={redo} />
        <span class="hint">Paint what is the subject. The rest of the picture will not be learned.</span>
      </div>
      <div class="mask-paper" style={{ '--ratio': picture.width / picture.height }}>
        <img src={fileUrl(picture.file)} alt={picture.caption || picture.name} />
        <canvas
          ref={canvas} width={picture.width} height={picture.height} aria-label="Mask"
          onPointerDown={down} onPointerMove={move} onPointerUp={up} onPointerCancel={up}
        />
      </div>
    </Dialog>
  );
}
