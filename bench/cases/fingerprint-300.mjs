// Keys of params with 300 fields.
import { fingerprints } from '../fingerprints.mjs'

export { engines, unit } from '../fingerprints.mjs'

export const title = 'fingerprint: keys of params with 300 fields'
export const size = { full: 3_000, quick: 1_000 }
export const { contenders, measure } = fingerprints(300)
