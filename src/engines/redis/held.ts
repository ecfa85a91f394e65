// A run as this process has claimed it: who ends it tells what it was, and the store has only to compare.
import type { Claimed, Entry, Outcome } from '../../engine.ts'
import type { Row } from './ids.ts'
import { cut, readEntry } from './ids.ts'
import { INLINE, PLACE } from './lua/layout.ts'

export class HeldRun implements Claimed {
  readonly entry: Entry
  readonly token: string
  /** In base64url. */
  readonly key: string
  readonly text: string
  /** What it has in common with others, as in lua/layout.ts. */
  readonly kind: string

  constructor(token: string, key: string, [text, id]: Row) {
    const parts = cut(text)
    this.entry = readEntry([text, id], parts)
    this.token = token
    this.key = key
    this.text = text
    this.kind = parts.kind.text
  }

  /** Who is to be told of its end; undefined where it has something else that is rare. */
  get watchers(): string | undefined {
    const after = PLACE.token - 1 + this.token.length
    if (this.text.charAt(after) === ';') return ''
    return /^,,,,,([^,;]+),,,$/.exec(this.text.slice(after, this.text.indexOf(';', after)))?.[1]
  }
}

/** The run that an outcome completes, where the store need not look for itself. */
export function endedPlainly(outcome: Outcome): HeldRun | undefined {
  if (outcome.kind !== 'completed') return undefined
  const { claim, then, result } = outcome
  if (!(claim instanceof HeldRun) || claim.token !== outcome.token || claim.entry.id !== outcome.id)
    return undefined
  if (then !== undefined && then.length > 0) return undefined
  return result.length > INLINE || Buffer.byteLength(result) > INLINE ? undefined : claim
}
