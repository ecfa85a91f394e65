// Follows runs for those who listen: one read for all of them every second, and at once when one has ended.
import type { Timer } from '../base/environment.ts'
import { environment } from '../base/environment.ts'
import type { Engine, Entry, Hint, Listening } from '../contract/engine.ts'
import { isEnded, MAX_BATCH } from '../contract/engine.ts'

type Seen = (run: Entry | undefined) => void

const LOOK_MS = 1_000

export class Watch {
  readonly #engine: Engine
  readonly #watchers = new Map<string, Set<Seen>>()
  #timer: Timer | undefined
  #listening: Listening | undefined
  #looking: Promise<void> = Promise.resolve()

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** `seen` is called with each look, the first of them now. Answers how to stop. */
  add(ids: readonly string[], seen: (id: string, run: Entry | undefined) => void): () => void {
    const watchers = ids.map((id): [string, Seen] => [id, (run) => seen(id, run)])
    for (const [id, watcher] of watchers) {
      const others = this.#watchers.get(id)
      if (others === undefined) this.#watchers.set(id, new Set([watcher]))
      else others.add(watcher)
    }
    this.#listening ??= this.#engine.listen((hint) => this.#hear(hint))
    this.#timer ??= environment.setInterval(() => this.#look([...this.#watchers.keys()]), LOOK_MS).unref()
    this.#look(ids)
    return () => {
      for (const [id, watcher] of watchers) {
        const others = this.#watchers.get(id)
        others?.delete(watcher)
        if (others?.size === 0) this.#watchers.delete(id)
      }
      if (this.#watchers.size > 0) return
      environment.clearInterval(this.#timer)
      this.#timer = undefined
      this.#listening?.stop()
      this.#listening = undefined
    }
  }

  /** Those of the runs that have ended, or are not known (any more), once there are any; none when the time or the signal is over. */
  ended(
    ids: readonly string[],
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<[id: string, run: Entry | undefined][]> {
    return new Promise((resolve) => {
      const found = new Map<string, Entry | undefined>()
      const settle = (): void => {
        environment.clearTimeout(timer)
        stop()
        signal.removeEventListener('abort', settle)
        resolve([...found])
      }
      const timer = environment.setTimeout(settle, timeoutMs)
      signal.addEventListener('abort', settle, { once: true })
      const stop = this.add(ids, (id, run) => {
        if (run !== undefined && !isEnded(run.status)) return
        // What the same look has found goes with it.
        if (found.size === 0) environment.setImmediate(settle)
        found.set(id, run)
      })
      if (signal.aborted) settle()
    })
  }

  #hear(hint: Hint): void {
    if (hint.kind === 'ended' && this.#watchers.has(hint.id)) this.#look([hint.id])
    else if (hint.kind === 'changed') this.#look([...this.#watchers.keys()])
  }

  /** In turn, so that nobody is shown an older state after a newer one. */
  #look(ids: readonly string[]): void {
    this.#looking = this.#looking.then(async () => {
      for (let at = 0; at < ids.length; at += MAX_BATCH) {
        const some = ids.slice(at, at + MAX_BATCH).filter((id) => this.#watchers.has(id))
        if (some.length === 0) continue
        try {
          const runs = await this.#engine.read(some, true)
          some.forEach((id, index) => {
            for (const seen of [...(this.#watchers.get(id) ?? [])]) seen(runs[index])
          })
        } catch {
          // A store that is away says nothing about the runs: the next look tries again.
        }
      }
    })
  }
}
