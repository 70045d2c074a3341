import { useEffect, useState } from 'preact/hooks';

import { api, fileUrl } from '../api/client';
import type { ConceptPicture } from '../api/types';
import { greyToAlpha, maskPng } from '../scene/mask';
import type { Stroke } from '../scene/model';
import { attempt, sayDeleted } from '../state';
import { Button, Dialog, IconButton, Segments, Slider } from '../ui/kit';
import { MaskPaper } from './mask_paper';

/// The mask of one picture, with a brush. It is a file of its own: captions are not touched.

const kHelp = 'mask-help';

/// Strokes with undo and redo.
function useStrokes() {
  const [strokes, setStrokes] = useState<Stroke[]>([]);
  const [undone, setUndone] = useState<Stroke[]>([]);
  const add = (stroke: Stroke) => {
    setStrokes([...strokes, stroke]);
    setUndone([]);
  };
  const undo = () => {
    if (strokes.length === 0) return;
    setStrokes(strokes.slice(0, -1));
    setUndone([strokes.at(-1)!, ...undone]);
  };
  const redo = () => {
    if (undone.length === 0) return;
    setStrokes([...strokes, undone[0]!]);
    setUndone(undone.slice(1));
  };
  return { strokes, add, undo, redo, canUndo: strokes.length > 0, canRedo: undone.length > 0 };
}

/// The mask that a picture has, as coverage.
function useMask({ mask }: ConceptPicture): ImageBitmap | undefined {
  const [under, setUnder] = useState<ImageBitmap | undefined>();
  useEffect(() => {
    if (!mask) return;
    void attempt(async () => {
      const answer = await fetch(fileUrl(mask, String(Date.now())));
      setUnder(await greyToAlpha(await answer.blob()));
    });
  }, []);
  return under;
}

export function MaskDialog(props: { concept: string; picture: ConceptPicture; onClose: () => void }) {
  const { concept, picture } = props;
  const longest = Math.max(picture.width, picture.height);
  const { strokes, add, undo, redo, canUndo, canRedo } = useStrokes();
  const [brush, setBrush] = useState<'paint' | 'erase'>('paint');
  const [size, setSize] = useState(Math.max(4, Math.round(longest / 10)));
  const under = useMask(picture);
  const closing = (work: () => Promise<unknown>) => attempt(async () => { await work(); props.onClose(); });
  const save = () =>
    closing(async () => api.putMask(concept, picture.name, await maskPng(strokes, picture.width, picture.height, under)));
  const remove = () => closing(async () => sayDeleted(`The mask of ${picture.name} is`, await api.removeMask(concept, picture.name)));
  const onKey = (event: KeyboardEvent) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== 'z') return;
    event.preventDefault();
    if (event.shiftKey) redo();
    else undo();
  };
  return (
    <Dialog
      title={`Mask of ${picture.name}`} wide onClose={props.onClose} unsaved={canUndo && 'What was painted is not saved.'}
      actions={
        <>
          {picture.mask && <Button kind="danger" onClick={() => void remove()}>Remove the mask</Button>}
          <span class="grow" />
          <Button onClick={props.onClose}>Cancel</Button>
          <Button kind="primary" disabled={!canUndo} onClick={() => void save()}>Save the mask</Button>
        </>
      }
    >
      <div class="stack" onKeyDown={onKey}>
        <div class="row wrap">
          <Segments label="Brush" value={brush} choices={[{ value: 'paint', label: 'Paint' }, { value: 'erase', label: 'Erase' }]} onChange={setBrush} />
          <div style={{ width: '220px' }}>
            <Slider label="Brush size" value={size} least={2} most={Math.round(longest / 3)} step={1} onChange={setSize} />
          </div>
          <IconButton icon="undo" label="Undo" keys="Ctrl Z" disabled={!canUndo} onClick={undo} />
          <IconButton icon="redo" label="Redo" keys="Ctrl Shift Z" disabled={!canRedo} onClick={redo} />
          <span class="hint" id={kHelp}>Paint what is the subject; what is shaded will not be learned. Arrow keys move the brush, Space puts it down and lifts it.</span>
        </div>
        <MaskPaper picture={picture} strokes={strokes} under={under} size={size} erases={brush === 'erase'} help={kHelp} onStroke={add} />
      </div>
    </Dialog>
  );
}
