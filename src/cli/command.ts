// What a command of `deferq` is: its place in the help, its flags, and what it answers.
import type { AnyTask } from '../tasks/task.ts'
import type { AnyDeferQ } from './bootstrap.ts'
import type { Flags, Values } from './flags.ts'
import type { Paint } from './format.ts'

/** One of the two is printed: the document with --json, the text for people. */
export interface Answer {
  document: unknown
  text: string
  /** 0 unless given. */
  code?: number
}

export interface Scene<F extends Flags> {
  readonly positionals: readonly string[]
  readonly values: Values<F>
  /** The bootstrap's, or one at the URL; connected when it is first asked for. */
  readonly deferq: () => Promise<AnyDeferQ>
  readonly paint: Paint
  /** Redraws one line on the terminal while something is waited for; undefined where there is no terminal. */
  readonly status: ((text: string) => void) | undefined
  /** One more remark for people, apart from the answer. */
  remark(text: string): void
}

export interface Command {
  readonly name: string
  /** The positional arguments, as the help shows them: [] for optional ones. */
  readonly takes: string
  readonly about: string
  /** More of it, in the command's own help. */
  readonly more?: string
  readonly flags: Flags
  /** Those of the DeferQ, where no bootstrap file brings any; without them any name may be dispatched. */
  readonly tasks?: () => Promise<AnyTask[]>
  /** Undefined when the command has printed all that there is by itself. */
  run(scene: Scene<Flags>): Promise<Answer | number>
}

/** Ties the types of a command's flags to what its `run` gets. */
export function command<const F extends Flags>(
  definition: Omit<Command, 'flags' | 'run'> & { flags: F; run(scene: Scene<F>): Promise<Answer | number> },
): Command {
  return definition as unknown as Command
}

/** At least and at most how many positional arguments: '<name> [params-json]' takes one or two. */
export function arity({ takes }: Command): { least: number; most: number } {
  const words = takes.match(/<[^>]+>|\[[^\]]+\]/g) ?? []
  return { least: words.filter((word) => word.startsWith('<')).length, most: words.length }
}
