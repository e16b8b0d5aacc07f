import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../../test/support/program.js'
import { shell, syncDisk } from '../peers/program.js'
import { task, type Place, type Task } from '../workload.js'

/** Each layer in a directory of its own, as overlay2 keeps them. */
export const unpackEach =
  'n=0; for l in $(cat order); do mkdir "$1/$n"; tar -xf "$l" -C "$1/$n"; n=$((n+1)); done'

/** The layers' own tars beside one another, in `order`; each sample unpacks them in a new directory. */
export async function unpackLayers(place: Place, phases: Readonly<Record<string, string>>): Promise<Task> {
  const archive = await openedArchive(place)
  return task(async (clock) => {
    const tree = await mkdtemp(join(place.directory, 'tree-'))
    for (const [name, line] of Object.entries(phases)) {
      await clock.phase(name, () => shell(`cd "$2"; ${line}`, tree, archive))
    }
    await clock.aside('sync', () => syncDisk(tree))
    await rm(tree, { recursive: true })
  })
}

/** Each layer unpacked in a directory of its own, below one: as they lie in a store. */
export async function ofLayerTrees(
  place: Place,
  phases: Readonly<Record<string, string>>,
  writes = false,
): Promise<Task> {
  const archive = await openedArchive(place)
  const trees = join(place.directory, 'trees')
  await mkdir(trees)
  await shell(`cd "$2"; ${unpackEach}`, trees, archive)
  return ofTree(place, trees, phases, writes)
}

export async function ofFlatTree(place: Place, phases: Readonly<Record<string, string>>): Promise<Task> {
  const archive = await openedArchive(place)
  const tree = join(place.directory, 'tree')
  await mkdir(tree)
  // What tar cannot put in the place of something else is left out: a few files that change their kind.
  await shell('cd "$2"; for l in $(cat order); do tar -xf "$l" -C "$1" || true; done', tree, archive)
  return ofTree(place, tree, phases, true)
}

function ofTree(
  { directory }: Place,
  tree: string,
  phases: Readonly<Record<string, string>>,
  writes: boolean,
): Task {
  return task(async (clock) => {
    for (const [name, line] of Object.entries(phases)) await clock.phase(name, () => shell(line, tree))
    if (!writes) return
    await clock.aside('sync', () => syncDisk(directory))
    await shell('rm -rf "$1.copy" "$1.saved"', tree)
  })
}

async function openedArchive(place: Place): Promise<string> {
  const directory = join(place.directory, 'archive')
  await mkdir(directory)
  await run('tar', ['-xf', await place.image(), '-C', directory])
  const [image] = await manifestIn(directory)
  const order = (image?.Layers ?? []).join('\n')
  await shell('printf "%s\\n" "$2" > "$1/order"', directory, order)
  return directory
}

export async function referenceIn(archive: string): Promise<string> {
  const text = (await run('tar', ['-xOf', archive, 'manifest.json'])).toString()
  const [image] = JSON.parse(text) as Manifest
  return image?.RepoTags?.[0] ?? 'none'
}

async function manifestIn(directory: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(directory, 'manifest.json'), 'utf8')) as Manifest
}

type Manifest = { readonly RepoTags?: readonly string[]; readonly Layers: readonly string[] }[]
