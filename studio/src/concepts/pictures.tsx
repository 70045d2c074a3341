import { useState } from 'preact/hooks';

import { api, thumbnailUrl } from '../api/client';
import type { Concept, ConceptPicture, Options } from '../api/types';
import { attempt, capabilities, sayDeleted } from '../state';
import { Fields } from '../forms/options';
import { fieldsOf } from '../forms/schema';
import { useStore } from '../store';
import { Icon } from '../ui/icons';
import { Button, IconButton, Segments } from '../ui/kit';
import { MaskDialog } from './mask_dialog';

/// The pictures of a concept as tuning will see them.

type Overlay = 'crops' | 'mask' | 'none';
const kOverlays: { value: Overlay; label: string }[] = [
  { value: 'crops', label: 'Crops' }, { value: 'mask', label: 'Masks' }, { value: 'none', label: 'Plain' },
];
const kFramingOptions = ['framing', 'crop_probability'];

export function Pictures(props: {
  concept: Concept;
  version: string; ///< Of the pictures that `concept` names.
  values: Options; ///< Of tuning, which say how pictures are cropped.
  onValues: (values: Options) => void;
  onAdd: (files: File[]) => void;
  onTune: () => void;
}) {
  const { concept } = props;
  const [overlay, setOverlay] = useState<Overlay>('crops');
  const [painting, setPainting] = useState<ConceptPicture | null>(null);
  const schema = useStore(capabilities)?.jobs.tune;
  const fields = fieldsOf(schema).filter((field) => kFramingOptions.includes(field.name));
  return (
    <>
      <div class="row wrap picture-bar">
        <Segments label="Shown over the pictures" value={overlay} choices={kOverlays} onChange={setOverlay} />
        {overlay === 'crops' && (
          <details class="framing">
            <summary>How they are cropped</summary>
            <Fields fields={fields} values={props.values} onChange={props.onValues} />
          </details>
        )}
        <span class="grow" />
        {concept.pictures.length > 0 && (
          <Button kind="primary" icon="play" onClick={props.onTune}>Next: tune it</Button>
        )}
      </div>
      <ul class="picture-grid" aria-label={`Pictures of ${concept.name}`}>
        {concept.pictures.map((picture) => (
          <Card
            key={picture.name} concept={concept} version={props.version} picture={picture} overlay={overlay}
            onPaint={() => setPainting(picture)}
          />
        ))}
        <li>
          <label class="add-pictures">
            <Icon name="upload" size={24} />
            <span>Drop pictures here or choose them; masks and captions may lie beside them</span>
            <input class="hidden-name" type="file" multiple accept="image/png,image/jpeg,image/webp,.txt,.caption" onChange={(event) => { props.onAdd([...(event.currentTarget.files ?? [])]); event.currentTarget.value = ''; }} />
          </label>
        </li>
      </ul>
      {painting && <MaskDialog concept={concept.name} picture={painting} onClose={() => setPainting(null)} />}
    </>
  );
}

function Card(props: { concept: Concept; version: string; picture: ConceptPicture; overlay: Overlay; onPaint: () => void }) {
  const { concept, version, picture, overlay } = props;
  const file = picture.file.split('/').pop() ?? picture.name;
  const remove = () => attempt(async () => sayDeleted(`${picture.name} is`, await api.removePicture(concept.name, file)));
  return (
    <li class={picture.problems.length > 0 ? 'card bad' : 'card'}>
      <div class="card-picture">
        <img src={thumbnailUrl(picture.file, version)} alt={altOf(concept, picture)} loading="lazy" />
        {overlay === 'mask' && picture.mask && (
          <img class="card-mask" src={thumbnailUrl(picture.mask, version)} alt="" loading="lazy" />
        )}
        {overlay === 'mask' && !picture.mask && <span class="card-no-mask">no mask</span>}
        {overlay === 'crops' && <Crops picture={picture} />}
        <div class="card-buttons">
          <IconButton class="small" icon="brush" label={`Paint the mask of ${picture.name}`} onClick={props.onPaint} />
          <IconButton class="small" icon="trash" label={`Remove ${picture.name}`} onClick={() => void remove()} />
        </div>
      </div>
      <div class="row wrap card-line">
        <span class="mono soft">{picture.name} · {picture.width}×{picture.height}</span>
        {picture.repeats > 1 && <span class="tag">{picture.repeats} times</span>}
        {picture.flags.map((flag) => (
          <span key={flag} class="tag warning" title={`sharpness ${Math.round(picture.sharpness)}`}>
            {flag === 'duplicate' && picture.duplicate_of ? `like ${picture.duplicate_of}` : flag === 'small' ? 'too small' : flag}
          </span>
        ))}
      </div>
      <p class="card-caption" title={picture.caption}>{hasCaption(picture) ? picture.caption : <span class="faint">no caption</span>}</p>
      {picture.problems.map((problem) => <p key={problem} class="finding error"><Icon name="warning" size={16} />{problem}</p>)}
    </li>
  );
}

/// One that says more than that the concept is there.
function hasCaption({ caption, caption_file }: ConceptPicture): boolean {
  return caption_file !== null || !['', '<TOK>'].includes(caption);
}

/// "00: a hina in the snow", for the caption `a <TOK> in the snow`.
function altOf(concept: Concept, { name, caption }: ConceptPicture): string {
  return `${name}: ${caption ? caption.replaceAll('<TOK>', concept.name) : concept.name}`;
}

/// What of the picture comes onto the canvas: the framings as tuning draws them.
function Crops({ picture }: { picture: ConceptPicture }) {
  return (
    <svg class="crops" viewBox={`0 0 ${picture.width} ${picture.height}`} aria-hidden="true" preserveAspectRatio="xMidYMid slice">
      {picture.crops.map(({ source }, index) => (
        <rect
          key={index} x={source.left} y={source.top} width={source.width} height={source.height}
          class={index === 0 ? 'crop first' : 'crop'} vector-effect="non-scaling-stroke"
        />
      ))}
    </svg>
  );
}
