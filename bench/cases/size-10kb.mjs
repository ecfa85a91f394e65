// Tasks with params and results of 10 KB each, from dispatch to result.
import { sized } from '../sizes.mjs'

export { engines, unit } from '../sizes.mjs'

export const title = 'size: dispatch to result, params and result of 10 KB, 100 callers'
export const size = { full: 3_000, quick: 400 }
export const { contenders, measure } = sized(10_000, 100)
