// The shape of an envelope: its version, its languages and the reasons of dead letters.
export const SCHEMA_VERSION = 1

export const LANGUAGES = ['php', 'go', 'python', 'java', 'dotnet', 'node'] as const

export const DEAD_LETTER_REASONS = ['failed', 'unknown_urn', 'poison'] as const

export type Language = (typeof LANGUAGES)[number]

export type DeadLetterReason = (typeof DEAD_LETTER_REASONS)[number]
