// Tells the engines of this process what happened to their file: at once what they did themselves, and what other
// processes did as soon as a look at the file shows it. All of it is hints.

import { statSync } from 'node:fs'
import type { Timer } from '../../base/environment.ts'
import { environment } from '../../base/environment.ts'
import type { Hint, Selector, Want } from '../../contract/engine.ts'
import { nameOfWant } from '../../contract/engine.ts'
import { MEMORY } from '../../drivers/sqlite-settings.ts'
import { firstDue } from './claim.ts'
import type { Connection } from './connection.ts'
import type { News } from './news.ts'
import type { Run } from './rows.ts'
import { CANCELLED, isLive, RUNNING } from './rows.ts'

/** An engine, as the hub sees it. */
export interface Member {
  readonly connection: Connection
  readonly listening: boolean
  now(): number
  hear(hint: Hint): void
}

interface Wait {
  member: Member
  want: Want
  /** What it was told: it is woken for what is due sooner. */
  nextDueAt: number
}

// Whether another process has written costs 2 µs to ask, a thousandth of the shortest pause.
const AWAITING_MS = 10
const WORKING_MS = 50
const IDLE_MS = 250
// What has changed is then looked up, so many runs at a time (about 1 ms), and never for more than a fifth of the time.
const RUNS_PER_LOOK = 1_000
const SHARE_OF_TIME = 5

export class Hub {
  static readonly #hubs = new Map<string, Hub>()

  /** By device and inode, so that two paths to one file meet. */
  static of(file: string): Hub {
    if (file === MEMORY) return new Hub(undefined)
    const { dev, ino } = statSync(file, { bigint: true })
    const key = `${dev}:${ino}`
    let hub = Hub.#hubs.get(key)
    if (hub === undefined) Hub.#hubs.set(key, (hub = new Hub(key)))
    return hub
  }

  /** Marks the news of this process, which need not be read back. */
  readonly origin = environment.randomBytes(9).toString('base64url')
  readonly #key: string | undefined
  readonly #members = new Set<Member>()
  readonly #watched = new Map<string, { seq: number; members: Set<Member> }>()
  readonly #leased = new Map<string, { seq: number; member: Member }>()
  readonly #waits = new Set<Wait>()
  #timer: Timer | undefined
  #lookAt = 0
  #looker: Member | undefined
  #version = -1
  #lastNews = 0
  #unfinished = false

  private constructor(key: string | undefined) {
    this.#key = key
  }

  join(member: Member): void {
    if (this.#members.size === 0) this.#lastNews = lastNews(member.connection)
    this.#members.add(member)
  }

  leave(member: Member): void {
    this.#members.delete(member)
    for (const wait of this.#waits) if (wait.member === member) this.#waits.delete(wait)
    for (const [id, { members }] of this.#watched) {
      if (members.delete(member) && members.size === 0) this.#watched.delete(id)
    }
    for (const [id, lease] of this.#leased) if (lease.member === member) this.#leased.delete(id)
    if (this.#looker === member) this.#looker = undefined
    if (this.#members.size > 0) return
    environment.clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#key !== undefined) Hub.#hubs.delete(this.#key)
  }

  /** Looks out for as long as somebody listens. */
  arm(): void {
    if (this.#key === undefined) return
    const at = environment.monotonic() + this.#pauseMs()
    if (this.#timer !== undefined && this.#lookAt <= at) return
    this.#lookIn(this.#pauseMs())
  }

  wait(member: Member, want: Want, nextDueAt = Number.POSITIVE_INFINITY): void {
    const name = nameOfWant(want)
    for (const wait of this.#waits) {
      if (wait.member === member && nameOfWant(wait.want) === name) this.#waits.delete(wait)
    }
    if (want.limit > 0) this.#waits.add({ member, want, nextDueAt })
    this.arm()
  }

  watch(member: Member, run: Run): void {
    const { id, seq } = run
    if (!isLive(run)) {
      member.hear({ kind: 'ended', id })
      return
    }
    const watched = this.#watched.get(id)
    if (watched === undefined) this.#watched.set(id, { seq, members: new Set([member]) })
    else watched.members.add(member)
    // It may have ended since it was read, before anybody looked for it.
    this.#unfinished = true
    this.arm()
  }

  lease(member: Member, id: string, seq: number): void {
    this.#leased.set(id, { seq, member })
  }

  release(id: string): void {
    this.#leased.delete(id)
  }

  /** After a commit of this process. */
  tell(by: Member, news: News): void {
    for (const run of news.watched) this.watch(by, run)
    for (const id of news.ended) this.#ended(id)
    for (const id of news.cancelled) this.#cancelled(id)
    if (news.invalidated !== undefined) this.#invalidated(news.invalidated)
    if (this.#waits.size > 0) for (const run of news.ready) this.#wake(run, by.now())
    if (news.opened && this.#waits.size > 0) this.#wakeSome(by, [...this.#members])
    for (const message of news.trouble) by.hear({ kind: 'trouble', message })
  }

  #ended(id: string): void {
    const watched = this.#watched.get(id)
    if (watched === undefined) return
    this.#watched.delete(id)
    for (const member of watched.members) member.hear({ kind: 'ended', id })
  }

  #cancelled(id: string): void {
    this.#leased.get(id)?.member.hear({ kind: 'cancelled', id })
    this.#leased.delete(id)
  }

  #invalidated(selector: Selector): void {
    for (const member of this.#members) member.hear({ kind: 'invalidated', selector })
  }

  #wake({ lane, dueAt }: News['ready'][number], now: number): void {
    for (const wait of this.#waits) {
      const { member, want, nextDueAt } = wait
      if (!want.names.includes(lane.name) || want.queues?.includes(lane.queue) === false) continue
      if (dueAt > now && dueAt >= nextDueAt) continue
      this.#waits.delete(wait)
      member.hear({ kind: 'work' })
      return
    }
  }

  #pauseMs(): number {
    if (this.#waits.size > 0 || this.#watched.size > 0) return AWAITING_MS
    return this.#leased.size > 0 ? WORKING_MS : IDLE_MS
  }

  #lookIn(ms: number): void {
    environment.clearTimeout(this.#timer)
    this.#lookAt = environment.monotonic() + ms
    this.#timer = environment.setTimeout(() => this.#look(), ms).unref()
  }

  #look(): void {
    this.#timer = undefined
    const listeners = [...this.#members].filter((member) => member.listening)
    const [looker] = listeners
    if (looker === undefined) return
    const began = environment.monotonic()
    try {
      this.#lookAround(looker, listeners)
    } catch {
      // Locked or gone: whoever calls the engine learns of it, and the next look is not far.
      this.#unfinished = true
    }
    this.#lookIn(Math.max(this.#pauseMs(), (environment.monotonic() - began) * SHARE_OF_TIME))
  }

  #lookAround(looker: Member, listeners: readonly Member[]): void {
    const version = looker.connection.dataVersion()
    if (this.#looker === looker && this.#version === version && !this.#unfinished) return
    this.#looker = looker
    this.#version = version
    this.#unfinished = false
    this.#readNews(looker.connection)
    this.#lookAtWatched(looker.connection)
    this.#lookAtLeased(looker.connection)
    this.#wakeThose(looker, listeners)
  }

  /** A look here is spared where nobody waits; where it fails, the next one around is not far. */
  #wakeSome(by: Member, members: readonly Member[]): void {
    try {
      this.#wakeThose(by, members)
    } catch {
      this.#unfinished = true
    }
  }

  /** All who would find something now, or sooner than they were told. */
  #wakeThose({ connection }: Member, members: readonly Member[]): void {
    for (const wait of this.#waits) {
      const { member, want, nextDueAt } = wait
      if (!members.includes(member)) continue
      const now = member.now()
      const due = firstDue(connection, want, now)
      if (due === undefined || (due > now && due >= nextDueAt)) continue
      this.#waits.delete(wait)
      member.hear({ kind: 'work' })
    }
  }

  #readNews(connection: Connection): void {
    const rows = connection.statement(NEWS).all(this.#lastNews) as {
      seq: number
      origin: string
      selector: string
    }[]
    for (const { seq, origin, selector } of rows) {
      this.#lastNews = seq
      if (origin !== this.origin) this.#invalidated(JSON.parse(selector) as Selector)
    }
  }

  #lookAtWatched(connection: Connection): void {
    const some = this.#next(this.#watched)
    if (some.length === 0) return
    const seqs = JSON.stringify(some.map(([, { seq }]) => seq))
    const rows = connection.statement(LOOK).all(seqs) as { id: string; status: number }[]
    const live = new Set(rows.filter(({ status }) => status <= RUNNING).map(({ id }) => id))
    for (const [id] of some) if (!live.has(id)) this.#ended(id)
  }

  #lookAtLeased(connection: Connection): void {
    const some = this.#next(this.#leased)
    if (some.length === 0) return
    const seqs = JSON.stringify(some.map(([, { seq }]) => seq))
    const rows = connection.statement(LOOK).all(seqs) as { id: string; status: number }[]
    const statuses = new Map(rows.map(({ id, status }) => [id, status]))
    for (const [id] of some) {
      const status = statuses.get(id)
      if (status === CANCELLED) this.#cancelled(id)
      else if (status !== RUNNING) this.#leased.delete(id)
    }
  }

  /** The first so many, which then go to the end of the line. */
  #next<T>(all: Map<string, T>): [string, T][] {
    const some: [string, T][] = []
    for (const entry of all) {
      if (some.push(entry) === RUNS_PER_LOOK) break
    }
    if (some.length < all.size) {
      this.#unfinished = true
      for (const [id, value] of some) {
        all.delete(id)
        all.set(id, value)
      }
    }
    return some
  }
}

function lastNews(connection: Connection): number {
  const { seq } = connection.statement('SELECT max(seq) AS seq FROM news').get() as { seq: number | null }
  return seq ?? 0
}

const NEWS = 'SELECT seq, origin, selector FROM news WHERE seq > ? ORDER BY seq LIMIT 100'
const LOOK = 'SELECT r.id, r.status FROM json_each(?) j CROSS JOIN runs r WHERE r.seq = j.value'
