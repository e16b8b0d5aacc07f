import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import type { Answer, Answers } from './answers.js'
import { expectedOf, type Subject } from './differences.js'
import { untouched, type Case, type Group } from './table.js'

const RECORD_FILE = new URL('kernel.json', import.meta.url)

/**
 * Recorded answers of a kernel, for hosts where nothing can be mounted. `kernel` has the brief answers by operation, in
 * the order of its cases. `otherwise` has the intended differences by subject.
 * `LAYERSTACK_RECORD=1` records both again.
 */
export interface Record {
  readonly kernel: Readonly<{ [operation: string]: readonly string[] }>
  readonly otherwise: Readonly<{ [subject: string]: Readonly<{ [name: string]: string }> }>
}

export function readRecord(): Record {
  return JSON.parse(readFileSync(RECORD_FILE, 'utf8')) as Record
}

export function writeRecord(record: Record): void {
  const lines = (of: object) =>
    Object.entries(of).map(([key, value]) => `    ${JSON.stringify(key)}: ${JSON.stringify(value)}`)
  const parts = Object.entries(record).map(
    ([part, of]) => `  ${JSON.stringify(part)}: {\n${lines(of as object).join(',\n')}\n  }`,
  )
  writeFileSync(RECORD_FILE, `{\n${parts.join(',\n')}\n}\n`)
}

export function recordOf(table: readonly Group[], subjects: readonly Subject[], kernel: Answers): Record {
  const briefs: { [operation: string]: string[] } = {}
  const otherwise: { [subject: string]: { [name: string]: string } } = {}
  for (const { name: group, cases } of table) {
    for (const each of cases) {
      const answer = kernel.get(each.name) as Answer
      ;(briefs[keyOf(group, each)] ??= []).push(brief(answer))
      for (const subject of subjects) {
        const expected = expectedOf(subject, each, answer, kernel.get(untouched(each)) as Answer)
        if (expected.because.length > 0) (otherwise[subject] ??= {})[each.name] = brief(expected.answer)
      }
    }
  }
  return { kernel: briefs, otherwise }
}

/** The brief answers expected of a subject, by case name. */
export function recordedFor(subject: Subject, table: readonly Group[], record: Record): Map<string, string> {
  const found = new Map<string, string>()
  const next = new Map<string, number>()
  for (const { name: group, cases } of table) {
    for (const each of cases) {
      const key = keyOf(group, each)
      const index = next.get(key) ?? 0
      next.set(key, index + 1)
      const recorded = record.otherwise[subject]?.[each.name] ?? record.kernel[key]?.[index]
      found.set(each.name, recorded ?? 'not recorded')
    }
  }
  return found
}

/** The first word of the outcome, a digest of outcome and tree, and a digest of the marks. */
export function brief({ outcome, tree, marks }: Answer): string {
  const shown = [outcome, ...tree.map(withoutLinks)].join('\n')
  return `${outcome.split(' ')[0]} ${digestOf(shown)} ${digestOf(marks.join('\n')).slice(0, 4)}`
}

/** Removes the link counts of directories, because file systems count these differently. */
export function withoutLinks(line: string): string {
  return line.includes(' directory ') ? line.replace(/ links=\d+/, '') : line
}

function keyOf(group: string, { operation }: Case): string {
  return `${group}: ${operation.name}`
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}
