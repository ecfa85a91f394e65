// Finds what somebody probably meant: the known word that is nearest to a misspelt one.

/** The nearest of `known`, unless even that one is far away. `maxJobs` and `max_jobs` count as `max-jobs`. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const wanted = kebab(word)
  const near = Math.max(2, Math.floor(wanted.length / 3))
  let best: string | undefined
  let least = near + 1
  for (const each of known) {
    // A beginning or an end of something (`--memory`) is nearer than its length says.
    const part = wanted.length > 2 && (each.startsWith(`${wanted}-`) || each.endsWith(`-${wanted}`))
    const far = part ? 1 : distance(wanted, each)
    if (far < least && far < Math.max(wanted.length, each.length) - 1) {
      least = far
      best = each
    }
  }
  return best
}

const kebab = (word: string): string =>
  word
    .replace(/([a-z])([A-Z])/g, '$1-$2')
    .replaceAll('_', '-')
    .toLowerCase()

/** Letters to insert, remove, replace, or swap with their neighbour. */
function distance(a: string, b: string): number {
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const line = [row]
    for (let column = 1; column <= b.length; column++) {
      const differs = a[row - 1] === b[column - 1] ? 0 : 1
      let least = Math.min(
        (above[column] as number) + 1,
        (line[column - 1] as number) + 1,
        (above[column - 1] as number) + differs,
      )
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        least = Math.min(least, (before[column - 2] as number) + 1)
      }
      line.push(least)
    }
    before = above
    above = line
  }
  return above[b.length] as number
}
