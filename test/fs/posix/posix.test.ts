/**
 * @module-tag every-identity
 * @module-tag thorough
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import type { AttributeMode } from '#layerstack/fs/spec.js'
import { btrfsFixture, noBtrfs } from '../../drivers/btrfs-fixture.js'
import { enterDirectory } from '../../support/ledger.js'
import { noMounts, unless, type Reason } from '../../support/needs.js'
import { ATTRIBUTES, noOracle } from '../overlay-fixture.js'
import {
  directoryAnswers,
  kernelAnswers,
  mountAnswers,
  unionAnswers,
  type Answer,
  type Answers,
} from './answers.js'
import { DIFFERENCES, expectedOf, type Subject } from './differences.js'
import { brief, readRecord, recordedFor, recordOf, withoutLinks, writeRecord } from './record.js'
import { TABLE, untouched, type Case } from './table.js'

/**
 * Runs the cases of `table.ts`, operations on objects of all kinds, on a `LayerFs` over each filesystem that drivers
 * use. The reference is the kernel: a process whose root is an overlay of the same directories. `differences.ts` lists
 * each intended difference exactly. If nothing can be mounted, the recorded answers in `kernel.json` are the reference.
 */
interface Asked {
  readonly name: string
  readonly subject: Subject
  readonly reason?: Reason
  readonly answers: (cases: readonly Case[]) => Promise<Answers>
}

const noKernel = noOracle()
if (noKernel !== undefined) console.warn(`posix: comparing with recorded answers of a kernel: ${noKernel}`)
const [keptInodes, keptAside] =
  ATTRIBUTES === 'native'
    ? [undefined, 'root’s attributes are stored in inodes']
    : ['an ordinary user’s attributes are kept aside', undefined]

const ASKED: readonly Asked[] = [
  { name: 'the kernel’s overlay', subject: 'mount', reason: noKernel, answers: mountAnswers },
  {
    name: 'a union',
    subject: 'union',
    reason: keptInodes,
    answers: (cases) => unionAnswers(cases, 'native'),
  },
  {
    name: 'a union with attributes kept aside',
    subject: 'union, kept aside',
    reason: keptAside,
    answers: (cases) => unionAnswers(cases, ATTRIBUTES),
  },
  { name: 'a directory', subject: 'directory', reason: keptInodes, answers: inDirectory('native') },
  {
    name: 'a directory with attributes kept aside',
    subject: 'directory, kept aside',
    reason: keptAside,
    answers: inDirectory(ATTRIBUTES),
  },
  { name: 'a directory on btrfs', subject: 'directory', reason: noBtrfs ?? keptInodes, answers: onBtrfs },
  { name: 'btrfs in userspace', subject: 'directory', answers: inVolume },
]

let kernel: Answers | undefined

beforeAll(async () => {
  if (noKernel !== undefined) return
  kernel = await kernelAnswers(TABLE.flatMap(({ cases }) => cases))
  const subjects = [...new Set(ASKED.map(({ subject }) => subject))]
  if (process.env['LAYERSTACK_RECORD'] !== undefined) writeRecord(recordOf(TABLE, subjects, kernel))
}, 600_000)

for (const { name, subject, reason, answers } of ASKED) {
  describe(`LayerFs on ${name} matches the kernel:`, unless(reason), () => {
    const table = TABLE.map(({ name: group, cases }) => ({ group, cases: cases.filter(isFor(subject)) }))
    let actual: Answers
    beforeAll(async () => {
      actual = await answers(table.flatMap(({ cases }) => cases))
    }, 600_000)

    it.each(table)('$group', ({ cases }) => {
      const told =
        kernel === undefined ? againstRecord(subject, cases, actual) : asMeant(subject, cases, actual, kernel)
      expect(cases.length).toBeGreaterThan(0)
      expect(told.slice(0, 20).join('\n\n'), `${told.length} of ${cases.length} cases differ`).toBe('')
    })
  })
}

describe('the kernel', unless(noKernel), () => {
  it('answers as recorded in kernel.json', () => {
    const recorded = readRecord()
    const now = recordOf(TABLE, [...new Set(ASKED.map(({ subject }) => subject))], kernel as Answers)
    const differ = Object.keys({ ...recorded.kernel, ...now.kernel }).filter(
      (key) => recorded.kernel[key]?.join() !== now.kernel[key]?.join(),
    )
    expect(differ).toEqual([])
    expect(recorded.otherwise).toEqual(now.otherwise)
  })

  it.each(DIFFERENCES)('differs from LayerFs: $what', (difference) => {
    for (const subject of difference.subjects) {
      const cases = TABLE.flatMap(({ cases: all }) => all.filter(isFor(subject))).filter((each) =>
        difference.covers(each, answerOf(each), before(each)),
      )
      expect(cases.length, subject).toBeGreaterThan(0)
      for (const each of cases) {
        const instead = difference.instead(answerOf(each), before(each), each)
        expect(linesOf(subject, instead), each.name).not.toEqual(linesOf(subject, answerOf(each)))
      }
    }
  })
})

function asMeant(subject: Subject, cases: readonly Case[], actual: Answers, said: Answers): string[] {
  return cases.flatMap((each) => {
    const judge = said.get(each.name) as Answer
    const expected = expectedOf(subject, each, judge, said.get(untouched(each)) as Answer)
    const [ours, meant] = [actual.get(each.name) as Answer, expected.answer].map((answer) =>
      linesOf(subject, answer),
    )
    return compared(each, ours as string[], meant as string[])
  })
}

function againstRecord(subject: Subject, cases: readonly Case[], actual: Answers): string[] {
  const recorded = recordedFor(subject, TABLE, readRecord())
  return cases.flatMap((each) => {
    const answer = actual.get(each.name) as Answer
    const [ours, meant] = [brief(answer), recorded.get(each.name) as string]
    const marksCount = subject.startsWith('union')
    const short = (text: string) => (marksCount ? text : text.slice(0, text.lastIndexOf(' ')))
    if (short(ours) === short(meant)) return []
    return [`${each.name}: ${ours}, but recorded is ${meant}\n${linesOf(subject, answer).join('\n')}`]
  })
}

function compared({ name }: Case, ours: readonly string[], meant: readonly string[]): string[] {
  if (ours.join('\n') === meant.join('\n')) return []
  const missing = meant.filter((line) => !ours.includes(line)).map((line) => `  - ${line}`)
  const extra = ours.filter((line) => !meant.includes(line)).map((line) => `  + ${line}`)
  return [[name, ...missing, ...extra].join('\n')]
}

/** The lines that are compared: marks only for overlays, link counts of directories only for the same file system. */
function linesOf(subject: Subject, { outcome, tree, marks }: Answer): string[] {
  if (subject === 'mount' || subject === 'union') return [outcome, ...tree, ...marks]
  return [outcome, ...tree.map(withoutLinks), ...(subject.startsWith('union') ? marks : [])]
}

function isFor(subject: Subject): (each: Case) => boolean {
  return ({ operation, withoutLayers }) => {
    if (operation.trusted === true && noMounts !== undefined && !subject.endsWith('aside')) return false
    return withoutLayers || !subject.startsWith('directory')
  }
}

function answerOf({ name }: Case): Answer {
  return kernel?.get(name) as Answer
}

function before(each: Case): Answer {
  return kernel?.get(untouched(each)) as Answer
}

const roots: string[] = []
afterAll(() => {
  for (const root of roots) rmSync(root, { recursive: true, force: true })
})

function inDirectory(attributes: AttributeMode) {
  return (cases: readonly Case[]) =>
    directoryAnswers(cases, new HostFs({ kind: 'host', root: newRoot(), attributes, shared: true }))
}

function newRoot(): string {
  const root = mkdtempSync(join(tmpdir(), 'layerstack-posix-'))
  enterDirectory(root)
  roots.push(root)
  chmodSync(root, 0o755)
  return root
}

async function inVolume(cases: readonly Case[]): Promise<Answers> {
  const driver = await btrfs.open({ root: newRoot(), engine: 'userspace', readOnly: false })
  try {
    await driver.createReadWrite('volume')
    return await directoryAnswers(cases, (await driver.get('volume')).fs.syncFs)
  } finally {
    await driver.put('volume')
    await driver.cleanup()
  }
}

async function onBtrfs(cases: readonly Case[]): Promise<Answers> {
  await using place = await btrfsFixture()
  return await directoryAnswers(cases, new HostFs({ kind: 'host', root: place.path, shared: true }))
}
