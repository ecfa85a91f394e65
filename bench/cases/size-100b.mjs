// Tasks with params and results of 100 B each, from dispatch to result.
import { sized } from '../sizes.mjs'

export { engines, unit } from '../sizes.mjs'

export const title = 'size: dispatch to result, params and result of 100 B, 100 callers'
export const size = { full: 4_000, quick: 600 }
export const { contenders, measure } = sized(100, 100)
