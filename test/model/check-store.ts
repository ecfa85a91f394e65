// Plays random histories on a store, and shrinks the first one in which the store and the model differ.
import fc from 'fast-check'
import type { Command, History } from './commands.ts'
import { history } from './history.ts'
import type { StoreKind } from './player.ts'
import { Player } from './player.ts'

export interface Extent {
  histories: number
  /** The most commands of one history. */
  length?: number
  seed?: number
  /** False: the first difference is told as it was found. */
  shrink?: boolean
  /** Ends the search, and the shrinking, after this time. */
  withinMs?: number
}

export interface Report {
  commands: number
  histories: number
  seed: number
  /** The shrunk history and what differed; left out if nothing did. */
  difference?: string
}

export async function checkStore(
  kind: StoreKind,
  { histories, length = 60, seed = newSeed(), shrink = true, withinMs }: Extent,
): Promise<Report> {
  let commands = 0
  const property = fc.asyncProperty(history(length), async (played) => {
    commands += played.commands.length
    await Player.play(kind, played)
  })
  try {
    const details = await fc.check(property, {
      numRuns: histories,
      endOnFailure: !shrink,
      ...(withinMs === undefined ? {} : { interruptAfterTimeLimit: withinMs }),
      seed,
    })
    const report = { commands, histories: details.numRuns, seed: details.seed }
    if (!details.failed) return report
    const [failed] = details.counterexample ?? []
    const cause = details.errorInstance instanceof Error ? details.errorInstance.message : 'no error was told'
    return { ...report, difference: `${cause}\n${failed === undefined ? '' : readable(failed)}` }
  } finally {
    await kind.close?.()
  }
}

/** Never negative, so that a command line takes it. */
const newSeed = (): number => Math.floor(Math.random() * 2 ** 31)

/** A line for each command. */
function readable({ limits, commands }: History): string {
  const lines = commands.map((command, index) => `  ${index + 1}. ${textOf(command)}`)
  return [`limits of groups: ${JSON.stringify(limits)}`, ...lines].join('\n')
}

function textOf({ do: verb, by, ...rest }: Command): string {
  return `${verb}, connection ${by}: ${JSON.stringify(rest)}`
}
