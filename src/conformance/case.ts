// One case of a conformance suite, as a test runner gets it.

export interface Case {
  name: string
  /** Sets up a store of its own, and clears it away. */
  run(): Promise<void>
  /** Why this case does not apply to the engine or transport; the runner should show it. */
  skip?: string
}
