// The order in which lanes give out, where some of them belong to groups: the groups of a name take turns.
import type { Group, Open } from './groups.ts'
import { keyOf } from './groups.ts'

export interface Candidate {
  seq: number
  due_at: number
}

/** Lanes that are drawn from as one: all without a group, or those of one group. */
interface Source {
  name: string
  group: Group | undefined
  taken: number
  lanes: { priority: number; lane: Open; left: Candidate[] | undefined }[]
}

type Head = Candidate & { priority: number; take(): void }

export class Turns {
  readonly #look: (lane: Open) => Candidate[]
  readonly #plain: Source = { name: '', group: undefined, taken: 0, lanes: [] }
  /** By name, the group first that was served longest ago. */
  readonly #grouped = new Map<string, Source[]>()
  /** In the order of their last turns. */
  readonly #served = new Set<Source>()

  /** `look` answers what of a lane is due, first things first. */
  constructor(lanes: readonly Open[], groups: ReadonlyMap<string, Group>, look: (lane: Open) => Candidate[]) {
    this.#look = look
    const sources = new Map<string, Source>()
    for (const lane of lanes) {
      const group = groups.get(keyOf(lane))
      let source = group === undefined ? this.#plain : sources.get(keyOf(lane))
      if (source === undefined) {
        source = { name: lane.name, group, taken: 0, lanes: [] }
        sources.set(keyOf(lane), source)
        const ofName = this.#grouped.get(lane.name)
        if (ofName === undefined) this.#grouped.set(lane.name, [source])
        else ofName.push(source)
      }
      source.lanes.push({ priority: lane.priority, lane, left: undefined })
    }
    for (const ofName of this.#grouped.values())
      ofName.sort((a, b) => (a.group as Group).served - (b.group as Group).served)
  }

  get served(): { group: Group; count: number }[] {
    return [...this.#served].map(({ group, taken }) => ({ group: group as Group, count: taken }))
  }

  /** The number of the next row; undefined when nothing more may begin. */
  next(): number | undefined {
    let first = this.#head(this.#plain)
    let from = this.#plain
    for (const ofName of this.#grouped.values()) {
      for (let source = ofName[0]; source !== undefined; source = ofName[0]) {
        const head = source.taken < (source.group as Group).room ? this.#head(source) : undefined
        if (head === undefined) {
          ofName.shift()
          continue
        }
        if (first === undefined || inOrder(head, first) < 0) {
          first = head
          from = source
        }
        break
      }
    }
    if (first === undefined) return undefined
    first.take()
    from.taken++
    if (from.group !== undefined) {
      const ofName = this.#grouped.get(from.name) as Source[]
      ofName.push(ofName.shift() as Source)
      this.#served.delete(from)
      this.#served.add(from)
    }
    return first.seq
  }

  #head({ lanes }: Source): Head | undefined {
    let first: Head | undefined
    for (const each of lanes) {
      if (first !== undefined && first.priority > each.priority) break
      each.left ??= this.#look(each.lane).reverse()
      const { priority, left } = each
      const candidate = left.at(-1)
      if (candidate === undefined) continue
      const head = { ...candidate, priority, take: () => void left.pop() }
      if (first === undefined || inOrder(head, first) < 0) first = head
    }
    return first
  }
}

const inOrder = (a: Head, b: Head): number => b.priority - a.priority || a.due_at - b.due_at || a.seq - b.seq
