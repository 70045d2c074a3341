import { useState } from 'preact/hooks';

import { checkScene, coverage, type Finding } from '../scene/checks';
import { kLayouts, regionsOfLines, withLayout } from '../scene/layouts';
import { asMask, moveRegion, newRegion, regionTitle, withRegion, withoutRegion, type Region, type Scene } from '../scene/model';
import { conceptIn, type KnownConcept } from '../scene/words';
import { useStore } from '../store';
import { percent } from '../ui/format';
import { Icon, type IconName } from '../ui/icons';
import { Button, Dialog, IconButton, Menu, MenuItem } from '../ui/kit';
import { edit, editRegion, history, select, setTool, view } from './document';

/// The regions of the scene, the front one first, and the scene itself below them.

const kShapeIcons: Record<string, IconName> = {
  box: 'box', polygon: 'polygon', mask: 'brush', background: 'background',
};

export function Layers({ known }: { known: KnownConcept[] }) {
  const scene = useStore(history, (value) => value.present);
  const { selected } = useStore(view);
  const [dragged, setDragged] = useState('');
  const findings = checkScene(scene, known);
  const drop = (place: number) => {
    if (dragged) edit((old) => moveRegion(old, dragged, place));
    setDragged('');
  };
  return (
    <aside class="layers" aria-label="Regions">
      <div class="row spread layers-head">
        <h2>Regions</h2>
        <AddMenu />
      </div>
      <ol class="layer-list" aria-label="Regions, the front one first">
        {scene.regions.map((region, index) => (
          <Layer
            key={region.id} region={region} index={index} scene={scene} known={known}
            chosen={region.id === selected} dragged={region.id === dragged}
            worst={worstOf(findings, region.id)}
            onDrag={() => setDragged(region.id)} onDrop={() => drop(index)}
          />
        ))}
      </ol>
      {scene.regions.length === 0 && <NoRegions />}
      <button
        class={`layer everywhere ${selected ? '' : 'on'}`} aria-pressed={!selected}
        onClick={() => select('')}
      >
        <Icon name="picture" />
        <span class="grow">
          <span class="layer-name">Everywhere</span>
          <span class="layer-prompt clip">{scene.prompt || 'what holds outside the regions'}</span>
        </span>
      </button>
      <Coverage scene={scene} />
    </aside>
  );
}

function worstOf(findings: Finding[], id: string): Finding | undefined {
  const own = findings.filter((finding) => finding.region === id);
  return own.find((finding) => finding.kind === 'error') ?? own[0];
}

function Layer(props: {
  region: Region;
  index: number;
  scene: Scene;
  known: KnownConcept[];
  chosen: boolean;
  dragged: boolean;
  worst: Finding | undefined;
  onDrag: () => void;
  onDrop: () => void;
}) {
  const { region, index, scene, chosen, worst } = props;
  const title = regionTitle(region, index);
  const concept = conceptIn(region.prompt, props.known);
  const move = (place: number) => edit((old) => moveRegion(old, region.id, place));
  const onKey = (event: KeyboardEvent) => {
    if (!event.altKey || !['ArrowUp', 'ArrowDown'].includes(event.key)) return;
    event.preventDefault();
    move(index + (event.key === 'ArrowUp' ? -1 : 1));
  };
  return (
    <li
      class={`layer ${chosen ? 'on' : ''} ${region.visible ? '' : 'off'} ${props.dragged ? 'dragged' : ''}`}
      style={{ '--color': `var(--region-${region.color})` }}
      draggable onDragStart={props.onDrag} onDragOver={(event) => event.preventDefault()} onDrop={props.onDrop}
    >
      <button
        class="layer-main" aria-pressed={chosen} onClick={() => select(region.id)} onKeyDown={onKey}
        title="Alt+↑ and Alt+↓ change the order"
      >
        <span class="layer-icon"><Icon name={kShapeIcons[region.shape.kind]!} size={16} /></span>
        <span class="grow">
          <span class="row" style={{ gap: 6 }}>
            <span class="layer-name clip">{title}</span>
            {concept && concept.name !== title && <span class="tag clip">{concept.name}</span>}
            {worst && <span class={`layer-flag ${worst.kind === 'error' ? 'wrong' : 'soft'}`} title={worst.text}><Icon name="warning" size={15} /><span class="hidden-name">{worst.text}</span></span>}
          </span>
          <span class="layer-prompt clip">{region.prompt || 'no prompt yet'}</span>
        </span>
      </button>
      <IconButton
        class="small" icon={region.visible ? 'eye' : 'eyeOff'} pressed={!region.visible}
        label={region.visible ? `Leave ${title} out` : `Paint ${title} again`}
        onClick={() => editRegion(region.id, { visible: !region.visible })}
      />
      <div class="menu-holder">
        <LayerMenu region={region} title={title} index={index} count={scene.regions.length} />
      </div>
    </li>
  );
}

function LayerMenu(props: { region: Region; title: string; index: number; count: number }) {
  const { region, title, index, count } = props;
  const move = (place: number) => edit((old) => moveRegion(old, region.id, place));
  const duplicate = () => {
    const copy = newRegion(region.shape, { ...region, id: newRegion(region.shape).id, name: region.name && `${region.name} copy` });
    edit((old) => withRegion(old, copy));
    select(copy.id);
  };
  return (
    <Menu label={`More for ${title}`}>
      {(close) => {
        const item = (run: () => void) => () => { run(); close(); };
        return (
          <>
            <MenuItem icon="up" keys="Alt ↑" disabled={index === 0} onClick={item(() => move(index - 1))}>Forward</MenuItem>
            <MenuItem icon="down" keys="Alt ↓" disabled={index === count - 1} onClick={item(() => move(index + 1))}>Backward</MenuItem>
            <MenuItem icon="duplicate" keys="Ctrl D" onClick={item(duplicate)}>Duplicate</MenuItem>
            {region.shape.kind !== 'mask' && (
              <MenuItem icon="brush" onClick={item(() => editRegion(region.id, { shape: asMask(region.shape) }))}>Make it a painted mask</MenuItem>
            )}
            <hr />
            <MenuItem icon="trash" danger keys="Del" onClick={item(() => edit((old) => withoutRegion(old, region.id)))}>Delete</MenuItem>
          </>
        );
      }}
    </Menu>
  );
}

export function addBackground() {
  const region = newRegion({ kind: 'background' });
  edit((old) => {
    const added = withRegion(old, region);
    return moveRegion(added, region.id, added.regions.length);
  });
  select(region.id);
}

/// An empty painted region, with the brush at hand.
export function addMask() {
  const region = newRegion({ kind: 'mask', file: '', strokes: [] });
  edit((old) => withRegion(old, region));
  select(region.id);
  setTool('brush');
}

function AddMenu() {
  const [lines, setLines] = useState(false);
  return (
    <>
      <div class="menu-holder">
        <Menu label="Add a region" icon="plus" text="Add">
          {(close) => {
            const item = (run: () => void) => () => { run(); close(); };
            return (
              <>
                <MenuItem icon="box" keys="B" onClick={item(() => setTool('box'))}>Box</MenuItem>
                <MenuItem icon="polygon" keys="P" onClick={item(() => setTool('polygon'))}>Polygon</MenuItem>
                <MenuItem icon="brush" keys="M" onClick={item(addMask)}>Painted mask</MenuItem>
                <MenuItem icon="background" onClick={item(addBackground)}>Background, the rest</MenuItem>
                <hr />
                <MenuItem icon="more" onClick={item(() => setLines(true))}>One line for each region…</MenuItem>
                {kLayouts.map((layout) => (
                  <MenuItem key={layout.name} icon="compose" onClick={item(() => edit((old) => withLayout(old, layout)))}>
                    {layout.name}
                  </MenuItem>
                ))}
              </>
            );
          }}
        </Menu>
      </div>
      {lines && <LinesDialog onClose={() => setLines(false)} />}
    </>
  );
}

function LinesDialog({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState('');
  const use = () => {
    edit((old) => regionsOfLines(old, text));
    onClose();
  };
  return (
    <Dialog
      title="One line for each region" onClose={onClose}
      actions={<Button kind="primary" disabled={!text.trim()} onClick={use}>Place them side by side</Button>}
    >
      <p class="soft">Each line becomes a region, from left to right. They take the place of the regions that are there.</p>
      <textarea
        aria-label="Prompts, one a line" rows={5} value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        placeholder={'a photo of a <wizard1> <wizard2> in a meadow\na photo of a <teddy1> <teddy2> in a meadow'}
      />
    </Dialog>
  );
}

function NoRegions() {
  return (
    <div class="no-regions">
      <p>Draw a box for each figure, or begin with a layout.</p>
      <div class="layouts">
        {kLayouts.map((layout) => (
          <button
            key={layout.name} class="layout" title={layout.note} aria-label={`Layout: ${layout.name}`}
            onClick={() => edit((old) => withLayout(old, layout))}
          >
            <LayoutPicture layout={layout} />
            <span>{layout.name}</span>
          </button>
        ))}
      </div>
    </div>
  );
}

function LayoutPicture({ layout }: { layout: (typeof kLayouts)[number] }) {
  return (
    <svg viewBox="0 0 48 32" aria-hidden="true">
      {[...layout.places].reverse().map((place, back) => {
        const color = `var(--region-${layout.places.length - 1 - back})`;
        const style = { fill: color, 'fill-opacity': 0.28, stroke: color };
        if (place.polygon) {
          return <polygon key={place.name} points={place.polygon.map(([y, x]) => `${x * 46 + 1},${y * 30 + 1}`).join(' ')} {...style} />;
        }
        const [top, left, bottom, right] = place.box!;
        return (
          <rect
            key={place.name} x={left * 46 + 1} y={top * 30 + 1} width={(right - left) * 46}
            height={(bottom - top) * 30} rx="1.5" {...style}
          />
        );
      })}
    </svg>
  );
}

function Coverage({ scene }: { scene: Scene }) {
  if (scene.regions.length === 0) return null;
  const share = coverage(scene);
  return (
    <div class="coverage">
      <div class="bar" role="img" aria-label={`Regions cover ${percent(share)}`}><i style={{ width: percent(share).replace(' ', '') }} /></div>
      <span>{share >= 0.995 ? 'Regions cover all of the canvas' : `Regions cover ${percent(share)}; elsewhere “Everywhere” holds`}</span>
    </div>
  );
}
