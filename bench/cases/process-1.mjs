// A backlog of tasks that do nothing, worked off one at a time.
import { openRedisFloor } from '../floors.mjs'
import { contendersAt } from './process.mjs'

export { engines, measure, prepare, unit } from './process.mjs'

export const title = 'process: a backlog of no-op tasks, concurrency 1'
export const size = { full: 4_000, quick: 200 }
export const contenders = {
  ...contendersAt(1),
  async 'floor: ioredis, a script'(at) {
    const { fill, startOne, close } = await openRedisFloor(at)
    return { fill, start: startOne, close }
  },
}
