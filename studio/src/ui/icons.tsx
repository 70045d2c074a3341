/// Line icons on a grid of 20, drawn for this page.
const kPaths = {
  concepts: 'M4 4.5h7v7H4zM9 8.5h7v7H9z',
  together: 'M7.6 13.2a4.6 4.6 0 1 1 0-6.4M12.4 6.8a4.6 4.6 0 1 1 0 6.4M7.6 6.8a4.6 4.6 0 0 1 0 6.4M12.4 13.2a4.6 4.6 0 0 1 0-6.4',
  compose: 'M3 3.5h14v13H3zM3 8.5h6.5v8M9.5 3.5v13',
  gallery: 'M3 3.5h6v6H3zM11 3.5h6v6h-6zM3 11.5h6v5H3zM11 11.5h6v5h-6z',
  select: 'M5 3l10.5 6.2-4.6 1.2-2.4 4.3z',
  box: 'M3.5 5.5h13v9h-13z',
  polygon: 'M4 7l7-3.5 5.5 6L12 16.5H5.5z',
  brush: 'M16.5 3.5c-3 1-6.5 4.5-8 7l1.8 1.8c2.500-1.600 5.700-5.200 6.200-8.800zM7.400 11.400c-1.500.1-2.200 1-2.400 2.300-.1 1-.6 1.700-1.500 2.100 2.700.9 5.300.2 5.700-2.600z',
  lasso: 'M5.500 13.500C1 10 4 4 10.500 4S18 9.500 13 12c-3 1.500-6 .5-6.500 2s1 2.500-.5 3.500M5.500 13.500c0-1 1-1.700 2-1.200',
  eraser: 'M3.500 12.500l8-8 5 5-6.500 6.500h-4zM7.500 8.500l5 5M9 16h8',
  background: 'M3 3.500h14v13H3zM3 10l7-6.500M3 16.500l14-13M10 16.500l7-6.500',
  undo: 'M7 5L3.500 8.500 7 12M4 8.500h7.500a4 4 0 0 1 0 8H9',
  redo: 'M13 5l3.500 3.500L13 12M16 8.500H8.500a4 4 0 0 0 0 8H11',
  eye: 'M2.500 10C4.500 6.500 7 5 10 5s5.500 1.500 7.500 5c-2 3.500-4.500 5-7.500 5s-5.500-1.500-7.500-5zM10 7.800a2.200 2.200 0 1 1 0 4.400 2.200 2.200 0 0 1 0-4.400z',
  eyeOff: 'M3.500 3.500l13 13M8 5.300A8 8 0 0 1 10 5c3 0 5.500 1.500 7.500 5-.6 1-1.300 1.900-2 2.600M12.500 14.500A7 7 0 0 1 10 15c-3 0-5.500-1.500-7.500-5 .9-1.600 1.900-2.700 3-3.500',
  up: 'M5 12l5-5 5 5',
  down: 'M5 8l5 5 5-5',
  plus: 'M10 4v12M4 10h12',
  close: 'M5 5l10 10M15 5L5 15',
  trash: 'M4 6h12M8 6V4h4v2M5.500 6l.7 10.500h7.600L14.500 6M8.500 9v5M11.500 9v5',
  star: 'M10 3l2.100 4.500 4.900.600-3.600 3.400.9 4.900L10 14l-4.300 2.400.9-4.900L3 8.100l4.900-.600z',
  search: 'M9 4a5 5 0 1 1 0 10A5 5 0 0 1 9 4zM12.800 12.800L17 17',
  play: 'M6 4l10 6-10 6z',
  pause: 'M7 4.500v11M13 4.500v11',
  stop: 'M5.500 5.500h9v9h-9z',
  repeat: 'M4 9a6 6 0 0 1 10.500-3L16 7.500M16 4v3.500h-3.500M16 11a6 6 0 0 1-10.500 3L4 12.500M4 16v-3.500h3.500',
  copy: 'M7.500 7.500h9v9h-9zM4.500 12.500h-1v-9h9v1',
  download: 'M10 3.500v9M6.500 9.500L10 13l3.500-3.500M4 16.500h12',
  upload: 'M10 13V4M6.500 7.500L10 4l3.500 3.500M4 16.500h12',
  more: 'M4.500 10h.01M10 10h.01M15.500 10h.01',
  sun: 'M10 7a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM10 2.500v1.500M10 16v1.500M2.500 10H4M16 10h1.500M4.700 4.700l1 1M14.300 14.300l1 1M4.700 15.300l1-1M14.300 5.700l1-1',
  moon: 'M16 12A6.500 6.500 0 0 1 8 4a6.500 6.500 0 1 0 8 8z',
  auto: 'M10 3a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM10 3v14M10 5a5 5 0 0 1 0 10',
  check: 'M4 10.500l4 4 8-9',
  warning: 'M10 3.500l7.500 13h-15zM10 8.500v3.500M10 14.300h.01',
  grip: 'M8 5h.01M12 5h.01M8 10h.01M12 10h.01M8 15h.01M12 15h.01',
  picture: 'M3 4h14v12H3zM3 13.500l4-4 3.500 3.500 2.500-2.500 4 4M13 7.300h.01',
  fit: 'M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4',
  folder: 'M3 5h5l1.500 2H17v9H3z',
  compare: 'M3 4h14v12H3zM10 2.500v15M7.500 8L5.500 10l2 2M12.500 8l2 2-2 2',
  duplicate: 'M7 7h9v9H7zM4 13V4h9',
  lock: 'M5 9h10v7H5zM7 9V7a3 3 0 0 1 6 0v2',
} as const;

export type IconName = keyof typeof kPaths;

export function Icon({ name, size = 18, filled }: { name: IconName; size?: number; filled?: boolean }) {
  return (
    <svg
      class="icon" width={size} height={size} viewBox="0 0 20 20" aria-hidden="true"
      fill={filled ? 'currentColor' : 'none'} stroke="currentColor"
      stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round"
    >
      <path d={kPaths[name]} />
    </svg>
  );
}
