// The facade's way to schedules; what they are is loaded with the first call.
import type { Backend } from '../dispatch/backend.ts'
import type { Item } from '../tasks/options.ts'
import type { AnyTask, Receipt } from '../tasks/task.ts'
import type { ScheduleDefinition } from './define.ts'
import type { Schedule } from './index.ts'

/** Typed by the task that it names. */
export type ScheduleOf<Tasks extends readonly AnyTask[]> = Omit<
  ScheduleDefinition,
  'name' | 'params' | 'options'
> &
  Item<Tasks>

const load = (): Promise<typeof import('./index.ts')> => import('./index.ts')

export class Schedules {
  readonly #backend: Backend

  constructor(backend: Backend) {
    this.#backend = backend
  }

  /** All that there are, in the order of their keys. */
  async list(): Promise<Schedule[]> {
    return (await load()).listSchedules(this.#backend)
  }

  async get(key: string): Promise<Schedule | undefined> {
    return (await load()).getSchedule(this.#backend, key)
  }

  /** No more occurrences until it is resumed. */
  async pause(key: string): Promise<Schedule> {
    return (await load()).pauseSchedule(this.#backend, key)
  }

  /** Goes on with the next occurrence; what would have been due meanwhile is not made up for. */
  async resume(key: string): Promise<Schedule> {
    return (await load()).resumeSchedule(this.#backend, key)
  }

  /** Its task, once, now; the occurrences to come stay as they are. */
  async run(key: string): Promise<Receipt> {
    return (await load()).runSchedule(this.#backend, key)
  }

  /** False where there was none. Tasks that it has made go on. */
  async remove(key: string): Promise<boolean> {
    return (await load()).removeSchedule(this.#backend, key)
  }
}
