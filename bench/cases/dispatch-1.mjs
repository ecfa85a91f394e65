// New tasks from one caller, who awaits each before the next.
import { measureWith } from '../callers.mjs'

export { alone, contenders, engines, unit } from '../callers.mjs'

export const title = 'dispatch: new tasks, one caller'
export const size = { full: 5_000, quick: 1_500 }
export const measure = measureWith(1)
