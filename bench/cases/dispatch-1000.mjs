// New tasks from a thousand callers at once.
import { measureWith } from '../callers.mjs'

export { alone, contenders, engines, unit } from '../callers.mjs'

export const title = 'dispatch: new tasks, 1,000 callers in flight'
export const size = { full: 20_000 }
export const measure = measureWith(1_000)
