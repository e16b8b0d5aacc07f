import { OLD_NS } from '../union-layers.js'
import type { Answer } from './answers.js'
import { CAP_NET_RAW } from './objects.js'
import type { Case } from './table.js'

/** A `LayerFs` over the kernel's overlay, over a `UnionFs`, or over a directory that holds the whole tree. */
export type Subject = 'mount' | 'union' | 'union, kept aside' | 'directory' | 'directory, kept aside'

const ALL: readonly Subject[] = ['mount', 'union', 'union, kept aside', 'directory', 'directory, kept aside']
const UNIONS: readonly Subject[] = ['union', 'union, kept aside']
const KEPT_ASIDE: readonly Subject[] = ['union, kept aside', 'directory, kept aside']

/** An intended difference between a `LayerFs` and the kernel in a process whose root is the layer. */
export interface Difference {
  readonly what: string
  readonly kernel: string
  readonly ours: string
  readonly reason: string
  readonly subjects: readonly Subject[]
  /** Whether the difference concerns a case. `before` is the answer of the case that does nothing. */
  readonly covers: (each: Case, kernel: Answer, before: Answer) => boolean
  /** The answer of the `LayerFs`. It must not equal the kernel's. */
  readonly instead: (kernel: Answer, before: Answer, each: Case) => Answer
}

const NEW_TIME = / now /
const BEFORE_1970_NS = -1_700_000_000_750_000_000n

export const DIFFERENCES: readonly Difference[] = [
  {
    what: 'open a FIFO or a device',
    kernel: 'opens it, or waits',
    ours: '`ENXIO`',
    reason: 'what is behind it is no part of the layer: another process, or hardware of the host',
    subjects: ALL,
    covers: ({ operation, objects }, kernel) =>
      operation.name.startsWith('open ') && objects['x']?.special === true && succeeded(kernel),
    instead: (kernel) => ({ ...kernel, outcome: 'ENXIO open /c/x' }),
  },
  {
    what: '`utimes` with negative seconds',
    kernel: 'Node sets the time that it is now',
    ours: 'sets a time before 1970',
    reason: 'layers have such times',
    subjects: ALL,
    covers: ({ operation }, kernel) => operation.name === 'utimes before 1970' && succeeded(kernel),
    instead: (kernel) => withTree(kernel, (line) => line.replace(NEW_TIME, ` ${BEFORE_1970_NS} `)),
  },
  {
    what: '`copyFile` of a directory',
    kernel: '`EISDIR`, but Node has removed the target by then',
    ours: '`EISDIR`, and the target stays',
    reason: 'a call that fails should change nothing',
    subjects: ALL,
    covers: ({ operation }, kernel, before) =>
      operation.name.startsWith('copyFile') && kernel.outcome.startsWith('EISDIR') && !isSame(kernel, before),
    instead: ({ outcome }, before) => ({ ...before, outcome }),
  },
  {
    what: '`realpath` of a path of 4096 bytes or more',
    kernel: 'the C library finds a shorter one',
    ours: '`ENAMETOOLONG`',
    reason: 'as every other call says of that path',
    subjects: ALL,
    covers: ({ operation }) => operation.name === 'realpath a path of 4096 bytes',
    instead: (kernel) => ({ ...kernel, outcome: `ENAMETOOLONG realpath /c${'/'.repeat(4084)}other` }),
  },
  {
    what: 'make a name that begins with `.wh.`',
    kernel: 'makes it',
    ours: '`EINVAL`',
    reason: 'in a layer such names are marks, and would hide other names',
    subjects: UNIONS,
    covers: ({ operation }, kernel, before) =>
      operation.name.includes('a name that begins with .wh.') && !isSame(kernel, before),
    instead: (_, before, { operation }) => ({ ...before, outcome: refusedMark(operation.name) }),
  },
  {
    what: '`ino` of a lower object that is changed',
    kernel: 'stays, but for hard links and directories of several layers',
    ours: 'becomes that of the copy; it is stable from then on',
    reason: 'the kernel keeps it in xattrs that only root may set, as handles of the host’s file system',
    subjects: UNIONS,
    covers: (each, kernel, before) =>
      /^(is one file, before and after|keeps its identity)/.test(each.operation.name) &&
      kernel.outcome === 'ok [true,true]' &&
      !wasInUpper(kernel, before),
    instead: (kernel) => ({ ...kernel, outcome: 'ok [false,true]' }),
  },
  {
    what: '`chmod`, `chown`, `utimes` of a lower object by a handle, after its last name was removed',
    kernel: '`EEXIST`, for a directory `ENOTDIR` or `EEXIST`',
    ours: '`EROFS`',
    reason: 'neither can be copied up without a name; the kernel’s names come from what it tried',
    subjects: UNIONS,
    covers: ({ operation }, kernel) =>
      /(unlinked: chmod|removed: chmod)/.test(operation.name) && NOT_COPIED.test(kernel.outcome),
    instead: (kernel) => ({ ...kernel, outcome: kernel.outcome.replaceAll(NOT_COPIED, '"EROFS"') }),
  },
  {
    what: '`rename` of a directory over one that is not empty',
    kernel: '`ENOTEMPTY`, and the directory that holds both may have a new time',
    ours: '`ENOTEMPTY`, and nothing is touched',
    reason: 'a call that fails should change nothing',
    subjects: UNIONS,
    covers: ({ operation }, kernel) =>
      operation.name === 'rename' &&
      kernel.outcome.startsWith('ENOTEMPTY') &&
      NEW_TIME.test(kernel.tree[0] ?? ''),
    instead: (kernel) =>
      withTree(kernel, (line, index) => (index === 0 ? line.replace(NEW_TIME, ` ${OLD_NS} `) : line)),
  },
  {
    what: 'write to a file with `security.capability`, where attributes are kept aside',
    kernel: 'the capability is gone',
    ours: 'it stays until a `chown`',
    reason: 'what is kept aside gives no power on the host, and is not looked at with each write',
    subjects: KEPT_ASIDE,
    covers: ({ operation, objects }, kernel) =>
      objects['x']?.name.startsWith('set-id file') === true &&
      !/chown|attributes|another renamed|remove/.test(operation.name) &&
      kernel.tree.some((line) => hasLostCapability(line, operation.name)),
    instead: (kernel, _before, { operation }) =>
      withTree(kernel, (line) =>
        hasLostCapability(line, operation.name)
          ? line.replace(' user.color', ` ${CAPABILITY} user.color`)
          : line,
      ),
  },
]

const CAPABILITY = `security.capability=${CAP_NET_RAW.toString('hex')}`
const NOT_COPIED = /"(EEXIST|ENOTDIR)"/g

/** The answer expected of a subject, given the kernel's answer, and the differences that shaped it. */
export function expectedOf(
  subject: Subject,
  each: Case,
  kernel: Answer,
  before: Answer,
): { readonly answer: Answer; readonly because: readonly Difference[] } {
  const because = DIFFERENCES.filter(
    ({ subjects, covers }) => subjects.includes(subject) && covers(each, kernel, before),
  )
  return { answer: because.reduce((answer, { instead }) => instead(answer, before, each), kernel), because }
}

function succeeded({ outcome }: Answer): boolean {
  return outcome.startsWith('ok')
}

function isSame(a: Answer, b: Answer): boolean {
  return a.tree.join('\n') === b.tree.join('\n') && a.marks.join('\n') === b.marks.join('\n')
}

function withTree(answer: Answer, map: (line: string, index: number) => string): Answer {
  return { ...answer, tree: answer.tree.map(map) }
}

/** After a rename from `x` to `y`, another file may be at `x`. */
function hasLostCapability(line: string, operation: string): boolean {
  const atPath = operation.includes('renamed') ? /^\/c\/y file \d+ 12:34 / : /^\/c\/[xy] file \d+ 12:34 /
  return atPath.test(line) && !line.includes(CAPABILITY)
}

/** Whether the call needed no copy-up. */
function wasInUpper(kernel: Answer, before: Answer): boolean {
  const count = ({ marks }: Answer) => marks.filter((mark) => !/ is (hidden|opaque)$/.test(mark)).length
  return count(kernel) === count(before)
}

function refusedMark(name: string): string {
  const path = '/c/.wh.x'
  const [call] = name.split(/ a name|,/)
  switch (call) {
    case 'mkdir':
    case 'mknod':
      return `EINVAL ${call} ${path}`
    case 'symlink':
      return `EINVAL symlink target ${path}`
    case 'link':
    case 'rename':
      return `EINVAL ${call} /c/other ${path}`
    case 'copyFile':
      return `EINVAL copyfile /c/other ${path}`
    default:
      return `EINVAL open ${path}`
  }
}
