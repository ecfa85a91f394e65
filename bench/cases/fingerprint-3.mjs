// Keys of params with 3 fields.
import { fingerprints } from '../fingerprints.mjs'

export { engines, unit } from '../fingerprints.mjs'

export const title = 'fingerprint: keys of params with 3 fields'
export const size = { full: 200_000, quick: 50_000 }
export const { contenders, measure } = fingerprints(3)
