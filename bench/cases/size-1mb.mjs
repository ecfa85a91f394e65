// Tasks with params and results of 1 MB each, from dispatch to result.
import { sized } from '../sizes.mjs'

export { engines, unit } from '../sizes.mjs'

export const title = 'size: dispatch to result, params and result of 1 MB, 10 callers'
export const size = { full: 120, quick: 8 }
export const { contenders, measure } = sized(1_000_000, 10)
