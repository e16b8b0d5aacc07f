import { CALLS, NOTHING } from './calls.js'
import { DIRECTORY_HANDLES, HANDLES } from './handles.js'
import { isWithoutLayers, OBJECTS, objectsNamed, type UnionObject } from './objects.js'
import { OPENS } from './open.js'
import { operation, type Operation } from './operation.js'
import { PATHS, STRANGE_PATHS, TWO_PATHS } from './paths.js'

/** One operation on one or two objects, in a directory of its own. */
export interface Case {
  readonly name: string
  readonly operation: Operation
  readonly objects: Readonly<Record<string, UnionObject>>
  /** Whether lower layers hold none of the objects. Such a case also runs on filesystems without layers. */
  readonly withoutLayers: boolean
}

export interface Group {
  readonly name: string
  readonly cases: readonly Case[]
}

const FILES = objectsNamed(/^(linked )?file in (low|upper)|^set-id file/)
const DIRECTORIES = objectsNamed(/^([a-z-]+ )?directory in (low|upper)( and low)?$|^directory in/)
const FEW = objectsNamed([
  'nothing',
  'file in low',
  'directory in low',
  'directory in upper',
  'symlink to a file in low',
  'symlink to a directory in low',
  'dangling symlink in low',
  'symlink to itself in low',
])
const MOVED = OBJECTS.filter(
  ({ name }) => !/^(socket|block|null|set-|absolute|dangling|symlink to itself)/.test(name),
)
const PAIRED = objectsNamed([
  'nothing',
  'file in low',
  'directory in upper',
  'empty directory in upper',
  'empty directory in low',
  'symlink to a directory in low',
  'dangling symlink in upper',
])
const RENAME = operation('rename', (fs, at) => fs.rename(at('x'), at('y')))

export const TABLE: readonly Group[] = [
  group('open', OPENS, OBJECTS),
  group('calls', CALLS, OBJECTS),
  group('open files', HANDLES, FILES),
  group('open directories', DIRECTORY_HANDLES, DIRECTORIES),
  group('paths', PATHS, FEW),
  group('strange paths', STRANGE_PATHS, objectsNamed(['nothing'])),
  { name: 'rename', cases: MOVED.flatMap((x) => MOVED.map((y) => caseOf(RENAME, { x, y }))) },
  {
    name: 'two paths',
    cases: [NOTHING, ...TWO_PATHS].flatMap((each) =>
      PAIRED.flatMap((x) => PAIRED.map((y) => caseOf(each, { x, y }))),
    ),
  },
]

/** Name of the case with the same objects that does nothing to them. */
export function untouched({ objects }: Case): string {
  return caseName(NOTHING, objects)
}

function caseName({ name }: Operation, objects: Case['objects']): string {
  const shown = Object.values(objects).map((each) => each.name)
  return `${name}: ${shown.join(' -> ')}`
}

function group(name: string, operations: readonly Operation[], objects: readonly UnionObject[]): Group {
  const cases = operations.flatMap((each) =>
    objects.filter(({ special }) => !(special && each.blocks === true)).map((x) => caseOf(each, { x })),
  )
  return { name, cases }
}

function caseOf(of: Operation, objects: Case['objects']): Case {
  const each = Object.values(objects)
  return {
    name: caseName(of, objects),
    operation: of,
    objects,
    withoutLayers: each.every(isWithoutLayers),
  }
}
