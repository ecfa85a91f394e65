// One container on the path of a walk through a value.
export interface Frame {
  readonly value: object
  readonly above: Frame | undefined
  /** The key under way; in a Map or Set the position, with `part` naming the half. */
  at: string | number
  part: '' | 'key ' | 'value ' | 'member '
}

export type Plain = Record<string, unknown>
