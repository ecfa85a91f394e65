// New tasks from one caller, who awaits each before the next.
import { measureWith } from '../callers.mjs'

export { alone, contenders, engines, unit } from '../callers.mjs'

export const title = 'dispatch: new tasks, one caller'
export const size = { full: 5_000, quick: 300 }
/** Left out of a quick run. */
export const slow = ['bullmq, auto-pipelined', 'bullmq, deduplicated']
export const measure = measureWith(1)
