// Gives deliveries back, moves them and keeps them: whatever asks for the ownership of a token.

import type { Answer, Delivery, Outgoing } from '../../contract/transport.ts'
import { parcels } from '../../drivers/split-by-size.ts'
import { bufferOf, inPlaces, KeyList } from './batches.ts'
import type { Keys } from './keys.ts'
import type { Session } from './session.ts'

/** To the end of a queue. */
export interface Move {
  delivery: Delivery
  queue: string
  delayMs: number
  body: Uint8Array | undefined
}

export class Settling {
  readonly #session: Session
  readonly #keys: Keys
  readonly #keepMs: number

  constructor(session: Session, keys: Keys, timeoutMs: number) {
    this.#session = session
    this.#keys = keys
    // Two steps that take their whole time, and as much again.
    this.#keepMs = 4 * timeoutMs
  }

  async publish(messages: readonly Outgoing[]): Promise<void> {
    await inPlaces(messages, this.#place, async (items) => {
      for (const parcel of parcels(items, ({ body }) => body.length)) {
        const keys = new KeyList(this.#keys)
        const args = parcel.flatMap(({ queue, delayMs = 0, body }) => [
          keys.indexOf(queue),
          String(delayMs),
          bufferOf(body),
        ])
        await this.#session.once('publish', keys.names, args)
      }
      return []
    })
  }

  ack(deliveries: readonly Delivery[]): Promise<Answer[]> {
    return inPlaces(deliveries, this.#place, async (items) => {
      const keys = new KeyList(this.#keys)
      const args = items.flatMap(({ queue, token }) => [keys.indexOf(queue), token])
      return answersOf(await this.#session.once('ack', keys.names, args))
    })
  }

  move(moves: readonly Move[]): Promise<Answer[]> {
    const isApart = ({ delivery, queue }: Move): boolean =>
      this.#keys.placeOf(delivery.queue) !== this.#keys.placeOf(queue)
    const from = ({ delivery }: Move): string => this.#keys.placeOf(delivery.queue)
    return inPlaces(
      moves,
      (move) => `${isApart(move)} ${from(move)}`,
      (items) => (items.some(isApart) ? this.#relay(items) : this.#release(items)),
    )
  }

  async extend(deliveries: readonly Delivery[], visibilityMs: number): Promise<Answer[]> {
    return inPlaces(deliveries, this.#place, async (items) => {
      const records = await this.#keep(items, visibilityMs, false)
      return records.map((record) => (record.length === 0 ? 'lost' : 'done'))
    })
  }

  async #release(moves: readonly Move[]): Promise<Answer[]> {
    const answers: Answer[] = []
    for (const parcel of parcels(moves, ({ body }) => body?.length ?? 0)) {
      const keys = new KeyList(this.#keys)
      const args = parcel.flatMap(({ delivery, queue, delayMs, body }) => [
        keys.indexOf(delivery.queue),
        delivery.token,
        keys.indexOf(queue),
        String(delayMs),
        body === undefined ? '0' : '1',
        bufferOf(body ?? NOTHING),
      ])
      answers.push(...answersOf(await this.#session.once('release', keys.names, args)))
    }
    return answers
  }

  /** On a cluster, to where one script can't reach: kept for long enough, put into its new place, taken from the old one. */
  async #relay(moves: readonly Move[]): Promise<Answer[]> {
    const answers = moves.map((): Answer => 'lost')
    const deliveries = moves.map(({ delivery }) => delivery)
    const records = await this.#keep(deliveries, this.#keepMs, true)
    const seen = new Set<string>()
    const held = moves.flatMap((move, index) => {
      const record = records[index] as Buffer
      const { token } = move.delivery
      if (record.length === 0 || seen.has(token)) return []
      seen.add(token)
      return [{ index, ...move, body: move.body ?? record.subarray(record.indexOf(':') + 1) }]
    })
    await this.publish(held)
    const acked = await this.ack(held.map(({ delivery }) => delivery))
    for (const [at, { index }] of held.entries()) answers[index] = acked[at] as Answer
    return answers
  }

  /** Answers '' for what is lost, else what is held under the token if `records` are asked for. */
  async #keep(deliveries: readonly Delivery[], ms: number, records: boolean): Promise<Buffer[]> {
    const keys = new KeyList(this.#keys)
    const args = deliveries.flatMap(({ queue, token }) => [keys.indexOf(queue), token])
    const options = [String(ms), records ? '1' : '0']
    return (await this.#session.run('extend', keys.names, [...options, ...args])) as Buffer[]
  }

  readonly #place = ({ queue }: { queue: string }): string => this.#keys.placeOf(queue)
}

const NOTHING = new Uint8Array()

/** A digit per item. */
const answersOf = (digits: unknown): Answer[] =>
  Array.from(String(digits), (digit) => (digit === '1' ? 'done' : 'lost'))
