import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../../test/support/program.js'
import { shell, syncDisk } from '../peers/program.js'
import { task, type Workspace, type Task } from '../workload.js'

/** Shell code that unpacks each layer into its own directory, as overlay2 stores them. */
export const unpackEach =
  'n=0; for l in $(cat order); do mkdir "$1/$n"; tar -xf "$l" -C "$1/$n"; n=$((n+1)); done'

/** Runs lines of shell on the tars of the layers, listed in `order`. Each sample unpacks into a new directory. */
export async function unpackLayers(
  workspace: Workspace,
  phases: Readonly<Record<string, string>>,
): Promise<Task> {
  const archive = await openedArchive(workspace)
  return task(async (clock) => {
    const tree = await mkdtemp(join(workspace.directory, 'tree-'))
    for (const [name, line] of Object.entries(phases)) {
      await clock.phase(name, () => shell(`cd "$2"; ${line}`, tree, archive))
    }
    await clock.aside('sync', () => syncDisk(tree))
    await rm(tree, { recursive: true })
  })
}

/** Runs lines of shell on a directory that has each layer unpacked in a subdirectory, as in a store. */
export async function ofLayerTrees(
  workspace: Workspace,
  phases: Readonly<Record<string, string>>,
  writes = false,
): Promise<Task> {
  const archive = await openedArchive(workspace)
  const trees = join(workspace.directory, 'trees')
  await mkdir(trees)
  await shell(`cd "$2"; ${unpackEach}`, trees, archive)
  return ofTree(workspace, trees, phases, writes)
}

/** Runs lines of shell on a directory into which all layers were unpacked. */
export async function ofFlatTree(
  workspace: Workspace,
  phases: Readonly<Record<string, string>>,
): Promise<Task> {
  const archive = await openedArchive(workspace)
  const tree = join(workspace.directory, 'tree')
  await mkdir(tree)
  // tar fails for the few files that replace something of another type; they are left out.
  await shell('cd "$2"; for l in $(cat order); do tar -xf "$l" -C "$1" || true; done', tree, archive)
  return ofTree(workspace, tree, phases, true)
}

function ofTree(
  { directory }: Workspace,
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

async function openedArchive(workspace: Workspace): Promise<string> {
  const directory = join(workspace.directory, 'archive')
  await mkdir(directory)
  await run('tar', ['-xf', await workspace.image(), '-C', directory])
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
