// Connections that were handed over are closed with the last engine of this process that uses them.
const users = new WeakMap<object, number>()

export function retain(part: object): void {
  users.set(part, (users.get(part) ?? 0) + 1)
}

/** Whether nobody uses it any more. */
export function release(part: object): boolean {
  const left = (users.get(part) ?? 1) - 1
  users.set(part, left)
  return left === 0
}
