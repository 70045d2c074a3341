/// What a fusion's own report says of each concept (fusion_report.json): how far it is from its own
/// weights before and after, and how much the others add to what it puts out.

export interface Fit {
  before: number;
  after: number;
  crosstalk: number;
  from: Record<string, number>; ///< What each other concept puts out there alone.
}

export interface FusionFacts {
  method: string;
  concepts: string[];
  stages: string[];
  total: Record<string, Fit>; ///< By concept.
  byStage: Record<string, Record<string, Fit>>; ///< By stage, then concept.
  /// By concept, how far the fused model is from its own before and after distillation, of which the
  /// layers' figures say nothing; empty where there was none.
  distilled: Record<string, { before: number; after: number }>;
}

interface Told {
  before?: number;
  after?: number;
  crosstalk?: number;
  crosstalk_from?: Record<string, number>;
}

interface Layer {
  stage: string;
  concepts?: Record<string, Told>;
}

export function factsOf(report: Record<string, unknown>): FusionFacts {
  const layers = (Array.isArray(report.layers) ? report.layers : []) as Layer[];
  const concepts = (Array.isArray(report.concepts) ? report.concepts : []) as string[];
  const stages = [...new Set(layers.map((layer) => layer.stage))];
  const byStage: FusionFacts['byStage'] = {};
  const total: FusionFacts['total'] = {};
  for (const { stage, concepts: fits = {} } of layers) {
    for (const [name, fit] of Object.entries(fits)) {
      byStage[stage] ??= {};
      byStage[stage]![name] = sum(byStage[stage]![name], fit);
      total[name] = sum(total[name], fit);
    }
  }
  const distilled = (report.distillation as { by_concept?: FusionFacts['distilled'] } | undefined)?.by_concept ?? {};
  return { method: String(report.method ?? ''), concepts, stages, total, byStage, distilled };
}

function sum(a: Fit | undefined, b: Told): Fit {
  const from = { ...a?.from };
  for (const [name, value] of Object.entries(b.crosstalk_from ?? {})) from[name] = (from[name] ?? 0) + value;
  return {
    before: (a?.before ?? 0) + (b.before ?? 0),
    after: (a?.after ?? 0) + (b.after ?? 0),
    crosstalk: (a?.crosstalk ?? 0) + (b.crosstalk ?? 0),
    from,
  };
}

/// The share of a concept's own change that is still there, as its layers' outputs say; 0 to 1.
export function kept(fit: Fit): number {
  return fit.before > 0 ? Math.max(0, Math.min(1, 1 - fit.after / fit.before)) : 1;
}

/// How much of what is lost comes from the others, beside the concept's own change.
export function taken(fit: Fit): number {
  return fit.before > 0 ? Math.max(0, Math.min(1, fit.crosstalk / fit.before)) : 0;
}

/// The same of one of the others; undefined where the report does not tell them apart.
export function takenBy(fit: Fit, other: string): number | undefined {
  const value = fit.from[other];
  if (value === undefined) return undefined;
  return fit.before > 0 ? Math.max(0, value / fit.before) : 0;
}
