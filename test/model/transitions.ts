// The states of a run and the ways between them, as the model goes them: documentation is made from it.
import fc from 'fast-check'
import type { Command } from './commands.ts'
import { history } from './history.ts'
import type { Model } from './model.ts'
import { Player } from './player.ts'
import { memory } from './stores.ts'

const HISTORIES = 1_500
const SEED = 1

type Shown = 'none' | 'behind' | 'pending' | 'running' | 'completed' | 'failed' | 'cancelled'
const ORDER: readonly Shown[] = ['none', 'behind', 'pending', 'running', 'completed', 'failed', 'cancelled']

/** A Markdown table: a row for each way from one state to another, with the commands that were seen to go it. */
export async function transitionTable(): Promise<string> {
  const ways = new Map<string, Set<Command['do']>>()
  for (const played of fc.sample(history(60), { numRuns: HISTORIES, seed: SEED })) {
    let before = new Map<string, Shown>()
    await Player.play(memory, played, (command, model) => {
      const after = statesOf(model)
      for (const [id, to] of after) {
        const from = before.get(id) ?? 'none'
        if (from === to) continue
        const way = `${ORDER.indexOf(from)} ${ORDER.indexOf(to)}`
        ways.set(way, (ways.get(way) ?? new Set()).add(command.do))
      }
      before = after
    })
  }
  const rows = [...ways]
    .sort(([one], [other]) => one.localeCompare(other))
    .map(([way, commands]) => {
      const [from = '', to = ''] = way.split(' ').map((index) => ORDER[Number(index)])
      return `| ${from} | ${to} | ${[...commands].sort().join(', ')} |`
    })
  return ['| from | to | by |', '| --- | --- | --- |', ...rows].join('\n')
}

function statesOf(model: Model): Map<string, Shown> {
  const states = new Map<string, Shown>()
  for (const run of model.runs.values()) {
    const behind = model.keys.get(run.key)?.behind === run
    states.set(run.id, behind ? 'behind' : run.status)
  }
  return states
}
