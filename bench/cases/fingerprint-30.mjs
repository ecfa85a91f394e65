// Keys of params with 30 fields.
import { fingerprints } from '../fingerprints.mjs'

export { engines, unit } from '../fingerprints.mjs'

export const title = 'fingerprint: keys of params with 30 fields'
export const size = { full: 30_000, quick: 10_000 }
export const { contenders, measure } = fingerprints(30)
