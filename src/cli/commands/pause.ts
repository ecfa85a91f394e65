// The commands that hold lanes back and let them go on: pause, resume and drain.
import { environment } from '../../base/environment.ts'
import type { Lanes } from '../../contract/engine.ts'
import type { Answer, Scene } from '../command.ts'
import { command } from '../command.ts'
import { usage } from '../flags.ts'
import { clean, readable } from '../format.ts'

const WHICH = {
  queue: { kind: 'text', value: 'name', about: 'all of this queue' },
  name: { kind: 'text', value: 'name', about: 'or all of this task' },
} as const

function lanesOf({ queue, name }: Scene<typeof WHICH>['values'], verb: string): Lanes {
  if (queue !== undefined && name === undefined) return { queue }
  if (name !== undefined && queue === undefined) return { name }
  throw usage(`${verb} needs either --queue=<name> or --name=<name>.`)
}

const say = (lanes: Lanes): string =>
  'queue' in lanes ? `the queue ${clean(lanes.queue)}` : `the task ${clean(lanes.name)}`

const pause = command({
  name: 'pause',
  takes: '',
  about: 'begin nothing of a queue or a task until it is resumed',
  more: 'What runs goes on, and dispatches are taken in. `deferq stats` shows what is paused.',
  flags: WHICH,
  async run(scene): Promise<Answer> {
    const lanes = lanesOf(scene.values, 'pause')
    await (await scene.deferq()).pause(lanes)
    return { document: { paused: true, ...lanes }, text: `paused: ${say(lanes)}` }
  },
})

const resume = command({
  name: 'resume',
  takes: '',
  about: 'let a paused queue or task go on',
  flags: WHICH,
  async run(scene): Promise<Answer> {
    const lanes = lanesOf(scene.values, 'resume')
    await (await scene.deferq()).resume(lanes)
    return { document: { paused: false, ...lanes }, text: `resumed: ${say(lanes)}` }
  },
})

const drain = command({
  name: 'drain',
  takes: '',
  about: 'pause a queue or a task, and wait until nothing of it runs any more',
  more: 'It stays paused, also when the time is up (exit code 1).',
  flags: { ...WHICH, wait: { kind: 'wait', value: '5m', about: 'for so long (without limit)' } },
  async run(scene): Promise<Answer> {
    const lanes = lanesOf(scene.values, 'drain')
    const { wait } = scene.values
    const begun = environment.monotonic()
    await (await scene.deferq()).drain(lanes, wait === undefined || wait === true ? {} : { timeout: wait })
    const took = readable(environment.monotonic() - begun)
    return { document: { drained: true, ...lanes }, text: `drained and paused: ${say(lanes)} (${took})` }
  },
})

export const PAUSING = [pause, resume, drain]
