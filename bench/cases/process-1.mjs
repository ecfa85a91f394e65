// A backlog of tasks that do nothing, worked off one at a time.
import { contendersAt } from './process.mjs'

export { engines, measure, prepare, unit } from './process.mjs'

export const title = 'process: a backlog of no-op tasks, concurrency 1'
export const size = { full: 4_000, quick: 200 }
export const contenders = contendersAt(1)
