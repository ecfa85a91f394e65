/** What a value is for: it decides the code of an error and the first word of the path in it. */
export type About = 'params' | 'result'

/** `depth` counts nested containers, `nodes` every value in the tree, `bytes` the UTF-8 text. */
export interface Limits {
  readonly depth: number
  readonly nodes: number
  readonly bytes: number
}

export const LIMITS: Readonly<Record<About, Limits>> = {
  params: { depth: 100, nodes: 100_000, bytes: 1024 * 1024 },
  result: { depth: 100, nodes: 100_000, bytes: 16 * 1024 * 1024 },
}

/** The most that `depth` can be raised to: a Map takes four levels of JSON, and `decode` must not overflow. */
export const DEEPEST = 250

export function boundsOf(usual: Limits, own: Partial<Limits>): Limits {
  const { depth = usual.depth, nodes = usual.nodes, bytes = usual.bytes } = own
  return { depth: Math.min(depth, DEEPEST), nodes, bytes }
}
