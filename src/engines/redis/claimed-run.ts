// A run as this process has claimed it: who ends it tells what it was, and the store has only to compare.
import type { AttemptOutcome, Claimed, Draft, Entry, Standing } from '../../contract/engine.ts'
import { VALUE } from '../../contract/engine.ts'
import type { Row } from './ids.ts'
import { cut, momentAt, readEntry } from './ids.ts'
import { INLINE, PLACE } from './layout.ts'

export class HeldRun implements Claimed {
  readonly entry: Entry
  readonly token: string
  readonly [VALUE]: unknown
  /** In base64url. */
  readonly key: string
  readonly text: string
  /** What it has in common with others, as in layout.ts. */
  readonly kind: string
  /** Null while they have not been read. */
  #watchers: string | undefined | null

  private constructor(
    entry: Entry,
    token: string,
    key: string,
    text: string,
    kind: string,
    watchers: string | null,
    value?: unknown,
  ) {
    this.entry = entry
    this.token = token
    this.key = key
    this.text = text
    this.kind = kind
    this.#watchers = watchers
    this[VALUE] = value
  }

  static read(token: string, key: string, [text, id]: Row): HeldRun {
    const parts = cut(text)
    return new HeldRun(readEntry([text, id], parts), token, key, text, parts.kind.text, null)
  }

  /** What a draft of this process has become in the step that took it in. */
  static begun(
    draft: Draft,
    token: string,
    key: string,
    text: string,
    kind: string,
    watchers: string,
  ): HeldRun {
    const now = momentAt(text, PLACE.created)
    const { id, name, queue, priority, params, policy, extra } = draft
    const entry: Entry = {
      id,
      name,
      queue,
      status: 'running',
      priority,
      attempt: 1,
      createdAt: now,
      dueAt: now,
      startedAt: now,
      errors: [],
      params,
      policy,
    }
    if (extra !== undefined) entry.extra = extra
    return new HeldRun(entry, token, key, text, kind, watchers, draft[VALUE])
  }

  /** `times`: when it ended, and until when its result is fresh and usable. */
  ended(times: string, result: string): Standing {
    const { id, name, queue, priority, attempt, createdAt, dueAt, startedAt } = this.entry
    return {
      id,
      name,
      queue,
      status: 'completed',
      priority,
      attempt,
      createdAt,
      dueAt,
      startedAt: startedAt as number,
      finishedAt: momentAt(times, 1),
      result,
      freshUntil: momentAt(times, 14),
      staleUntil: momentAt(times, 27),
      errors: [],
    }
  }

  /** Who is to be told of its end; undefined where it has something else that is rare. */
  get watchers(): string | undefined {
    if (this.#watchers === null) this.#watchers = this.#readWatchers()
    return this.#watchers
  }

  #readWatchers(): string | undefined {
    const after = PLACE.token - 1 + this.token.length
    if (this.text.charAt(after) === ';') return ''
    return /^,,,,,([^,;]+),,,$/.exec(this.text.slice(after, this.text.indexOf(';', after)))?.[1]
  }
}

/** The run that an outcome completes, where the store need not look for itself. */
export function endedPlainly(outcome: AttemptOutcome): HeldRun | undefined {
  if (outcome.kind !== 'completed') return undefined
  const { claim, then, result } = outcome
  if (!(claim instanceof HeldRun) || claim.token !== outcome.token || claim.entry.id !== outcome.id)
    return undefined
  if (then !== undefined && then.length > 0) return undefined
  return result.length * 3 > INLINE && Buffer.byteLength(result) > INLINE ? undefined : claim
}
