/** By UTF-16 units, as RFC 8785 says. The few names that most objects have are in order soonest without the library's own machinery. */
export function sort(names: string[]): void {
  if (names.length > 16) {
    names.sort()
    return
  }
  for (let end = 1; end < names.length; end++) {
    const name = names[end] as string
    let at = end
    for (; at > 0 && (names[at - 1] as string) > name; at--) names[at] = names[at - 1] as string
    names[at] = name
  }
}

/** More than there are: those that begin with a digit. */
export const isIndexName = (name: string): boolean => {
  const first = name.charCodeAt(0)
  return first >= 48 && first <= 57
}

/** How many prototypes there are, up to five: a Proxy could invent them without end. */
export function levels(value: object): number {
  let count = 0
  for (let at = Object.getPrototypeOf(value); at !== null && count < 5; at = Object.getPrototypeOf(at))
    count++
  return count
}

/** Also an object from another realm, where Object.prototype is another. */
export function isPlain(proto: object | null): boolean {
  return proto === null || (Object.getPrototypeOf(proto) === null && Object.hasOwn(proto, 'hasOwnProperty'))
}

export function isIndex(key: string, length: number): boolean {
  return /^(0|[1-9]\d{0,9})$/.test(key) && Number(key) < length
}

export function className(value: object): string {
  const maker = Object.getPrototypeOf(value)?.constructor
  return typeof maker === 'function' && maker.name !== '' ? String(maker.name) : 'a nameless class'
}
