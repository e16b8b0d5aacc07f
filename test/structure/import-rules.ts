import { dirname } from 'node:path'
import type { ModuleImport } from './module-imports.js'

/**
 * The rooms of `src`, which are its top-level folders and files, by floor from the lowest. A file may import from lower
 * floors, from its own room, and from rooms on the same floor that do not import its room. Files and rooms have no
 * import cycles, not even for types.
 */
const FLOORS = [
  [
    'concurrency',
    'digest',
    'errors',
    'event-loop',
    'json',
    'limits',
    'operation-options',
    'progress',
    'rollback',
    'source-date',
  ],
  ['sys', 'durable', 'compression'],
  ['fs'],
  ['tar', 'cow', 'thin'],
  ['jobs'],
  ['drivers'],
  ['conformance'],
  ['layers'],
  ['images', 'references', 'containers'],
  ['catalog'],
  ['archives', 'registry'],
  ['store'],
  ['open-store'],
  ['index'],
]

/** Violations of the rules, one message each with file, line and source text. */
export function brokenRules(imports: readonly ModuleImport[]): string[] {
  return [
    ...imports.flatMap((entry) => complaints(entry).map((complaint) => sentence(entry, complaint))),
    ...cycles(imports.filter(isInside), ({ file }) => file),
    ...cycles(imports.filter(isInside).filter(isAcrossRooms), ({ file }) => roomOf(file)),
    ...cycles(imports.filter(isInside).filter(isAcrossFolders), ({ file }) => folderOf(file)),
  ]
}

function complaints(entry: ModuleImport): string[] {
  const { file, target } = entry
  if (target === 'koffi') return roomOf(file) === 'sys' ? [] : ['only sys imports koffi']
  if (!isInside(entry)) return []
  const [from, to] = [roomOf(file), roomOf(target)]
  const unknown = [from, to].find((room) => floorOf(room) < 0)
  if (unknown !== undefined) return [`${unknown} has no floor in test/structure/import-rules.ts`]
  const found: string[] = []
  if (floorOf(to) > floorOf(from)) found.push(`${from} is below ${to}`)
  const [ours, theirs] = [driverOf(file), driverOf(target)]
  if (theirs !== undefined && from === 'conformance') found.push(`conformance does not know ${theirs}`)
  if (theirs !== undefined && from === 'drivers' && ours !== theirs) {
    found.push(
      ours === undefined
        ? `what drivers share does not know ${theirs}`
        : `driver ${ours} imports driver ${theirs}`,
    )
  }
  return found
}

/** Reports each import cycle of files, folders or rooms once, at the import that closes it. */
function cycles(imports: readonly ModuleImport[], nameOf: (entry: { file: string }) => string): string[] {
  const edges = new Map<string, ModuleImport[]>()
  for (const entry of imports) edges.set(nameOf(entry), [...(edges.get(nameOf(entry)) ?? []), entry])
  const found: string[] = []
  const done = new Set<string>()
  const visit = (name: string, path: readonly string[]) => {
    if (done.has(name)) return
    for (const entry of edges.get(name) ?? []) {
      const next = nameOf({ file: entry.target })
      const start = [...path, name].indexOf(next)
      if (start >= 0)
        found.push(sentence(entry, `a circle: ${[...path, name, next].slice(start).join(' → ')}`))
      else visit(next, [...path, name])
    }
    done.add(name)
  }
  for (const name of edges.keys()) visit(name, [])
  return found
}

function sentence({ file, line, text }: ModuleImport, complaint: string): string {
  return `${file}:${line}  ${complaint}\n    ${text}`
}

function isInside({ target }: ModuleImport): boolean {
  return target.startsWith('src/')
}

function isAcrossRooms({ file, target }: ModuleImport): boolean {
  return roomOf(file) !== roomOf(target)
}

/** Between sibling folders of a room. Files directly in a room may be above its folders (an index) or below them. */
function isAcrossFolders({ file, target }: ModuleImport): boolean {
  const [from, to] = [folderOf(file), folderOf(target)]
  return roomOf(file) === roomOf(target) && dirname(from) === dirname(to) && from !== to
}

/** `src/fs/trees/walk.ts` → `fs/trees`. */
function folderOf(file: string): string {
  return dirname(file).slice('src/'.length)
}

/** `src/fs/walk.ts` → `fs`; `src/store.ts` → `store`. */
function roomOf(file: string): string {
  return (file.split('/')[1] ?? '').replace(/\.ts$/, '')
}

function floorOf(room: string): number {
  return FLOORS.findIndex((rooms) => rooms.includes(room))
}

/** `src/drivers/vfs/index.ts` → `vfs`; `undefined` for files that drivers share and for other rooms. */
function driverOf(file: string): string | undefined {
  const parts = file.split('/')
  return parts[1] === 'drivers' && parts.length > 3 ? parts[2] : undefined
}
