// Lease tokens: nobody can guess one, and each says where its run lies.
import { environment } from '../../base/environment.ts'

const PREFIX_LENGTH = 16

/** 96 random bits, once per claim; TOKEN adds to them what is particular to each row. */
export const newTokenPrefix = (): string => environment.randomBytes(12).toString('base64url')

/** The same as SQL, where ?1 is the prefix. */
export const TOKEN = "?1 || seq || '.' || lane"

/** Zeros, which are nowhere, for a token that was never made here. */
export function placeOf(token: string): { seq: number; lane: number } {
  const dot = token.indexOf('.', PREFIX_LENGTH)
  const seq = Number(token.slice(PREFIX_LENGTH, dot))
  const lane = Number(token.slice(dot + 1))
  const sound = dot > 0 && Number.isSafeInteger(seq) && Number.isSafeInteger(lane)
  return sound ? { seq, lane } : { seq: 0, lane: 0 }
}
