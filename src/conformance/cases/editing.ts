import assert from 'node:assert/strict'
import type { ConformanceCase } from '../case.js'
import type { Edit } from '../edit.js'
import { same, type Subject } from '../subject.js'
import { BASE, CHANGES } from './samples.js'

const TYPES: readonly Edit[] = [
  { do: 'create', path: '/file', content: 'file' },
  { do: 'mkdir', path: '/dir' },
  { do: 'symlink', path: '/symlink', target: 'file' },
  { do: 'mknod', path: '/fifo', type: 'fifo', mode: 0o600 },
  { do: 'create', path: '/empty', content: '' },
]

const LINKED: readonly Edit[] = [
  { do: 'create', path: '/one', content: 'linked' },
  { do: 'link', path: '/one', to: '/two' },
  { do: 'mkdir', path: '/dir' },
  { do: 'link', path: '/one', to: '/dir/three' },
]

const FILES: readonly Edit[] = [
  ...['appended', 'patched', 'shorter', 'longer', 'replaced', 'emptied', 'marked'].map(
    (name) => ({ do: 'create', path: `/${name}`, content: `I am ${name}` }) as const,
  ),
  { do: 'setxattr', path: '/marked', name: 'user.mark', value: 'yes' },
  { do: 'mkdir', path: '/dir' },
  { do: 'mkdir', path: '/dir/sub', mode: 0o2775 },
  { do: 'create', path: '/dir/sub/deep', content: 'deep' },
  { do: 'create', path: '/dir/file', content: 'file' },
  { do: 'symlink', path: '/link', target: 'marked' },
]

/**
 * Copy-on-write by edits. Each stack of edits is made as layers, and every layer must match a plain tree after the same
 * edits. Then each layer's diff must make the same layer again, with the same diff byte for byte.
 */
export const editing: readonly ConformanceCase[] = [
  stack("shows a child its parent's content, and keeps the child's changes out of the parent", BASE, CHANGES),
  stack('keeps the changes of each layer of a stack', BASE, CHANGES, [
    { do: 'remove', path: '/etc/motd' },
    { do: 'rename', path: '/etc/motd2', to: '/etc/motd' },
    { do: 'remove', path: '/usr/lib64' },
    { do: 'symlink', path: '/usr/lib64', target: '/usr/lib' },
    { do: 'create', path: '/usr/lib/b', content: 'back' },
  ]),
  stack('appends to, patches, truncates and replaces files of a lower layer', FILES, [
    { do: 'append', path: '/appended', content: ' and more' },
    { do: 'patch', path: '/patched', at: 2, content: 'XX' },
    { do: 'truncate', path: '/shorter', size: 3 },
    { do: 'truncate', path: '/longer', size: 20 },
    { do: 'replace', path: '/replaced', content: 'new', mode: 0o600 },
    { do: 'truncate', path: '/emptied', size: 0 },
  ]),
  stack('changes modes, owners, times and xattrs of a lower layer, and nothing else', FILES, [
    { do: 'chmod', path: '/appended', mode: 0o4755 },
    { do: 'chown', path: '/patched', uid: 12, gid: 34 },
    { do: 'chown', path: '/link', uid: 56, gid: 78 },
    { do: 'mtime', path: '/link', ns: 987_654_321_000_000_000n },
    { do: 'mtime', path: '/shorter', ns: 1_234_567_890_123_456_789n },
    { do: 'setxattr', path: '/longer', name: 'user.bytes', value: '\u0000\u00ff\u0080' },
    { do: 'removexattr', path: '/marked', name: 'user.mark' },
    { do: 'chmod', path: '/dir', mode: 0o1700 },
    { do: 'chown', path: '/dir/sub', uid: 4_000_000, gid: 4_000_001 },
  ]),
  stack('removes files and whole directories of a lower layer', FILES, [
    { do: 'remove', path: '/appended' },
    { do: 'remove', path: '/dir' },
  ]),
  stack(
    'shows nothing of a removed directory in a directory that replaces it',
    FILES,
    [
      { do: 'remove', path: '/dir' },
      { do: 'mkdir', path: '/dir', mode: 0o711 },
      { do: 'create', path: '/dir/fresh', content: 'fresh' },
    ],
    [{ do: 'append', path: '/dir/fresh', content: 'er' }],
  ),
  stack(
    'shows a directory that one layer removed and the next layer recreated',
    FILES,
    [{ do: 'remove', path: '/dir' }],
    [
      { do: 'mkdir', path: '/dir' },
      { do: 'mkdir', path: '/dir/sub' },
      { do: 'create', path: '/dir/sub/deep', content: 'again' },
    ],
  ),
  stack('replaces each type of object by another type', TYPES, [
    ...TYPES.map(({ path }) => ({ do: 'remove', path }) as const),
    { do: 'mkdir', path: '/file' },
    { do: 'create', path: '/dir', content: 'was a directory' },
    { do: 'mkdir', path: '/symlink' },
    { do: 'symlink', path: '/fifo', target: 'was-a-fifo' },
    { do: 'mknod', path: '/empty', type: 'fifo', mode: 0o640 },
  ]),
  stack(
    'updates one file in several layers',
    [{ do: 'create', path: '/log', content: '0' }],
    ...['1', '2', '3', '4', '5'].map((content) => [{ do: 'append', path: '/log', content }] as const),
  ),
  stack('renames files and new directories, to new and to existing names', FILES, [
    { do: 'rename', path: '/appended', to: '/elsewhere' },
    { do: 'rename', path: '/patched', to: '/shorter' },
    { do: 'rename', path: '/dir/sub/deep', to: '/dir/up' },
    { do: 'mkdir', path: '/made' },
    { do: 'create', path: '/made/in', content: 'in' },
    { do: 'rename', path: '/made', to: '/dir/moved' },
  ]),
  stack('keeps hard links of a lower layer that are not modified', LINKED, [
    { do: 'create', path: '/other', content: 'x' },
  ]),
  stack('removes a directory with one name of a file that has others outside it', LINKED, [
    { do: 'remove', path: '/dir' },
  ]),
  stack('replaces a directory with one name of a file that has others outside it by a file', LINKED, [
    { do: 'remove', path: '/dir' },
    { do: 'create', path: '/dir', content: 'was a directory' },
  ]),
  stack('links a new name to an unmodified file of a lower layer', FILES, [
    { do: 'link', path: '/appended', to: '/dir/linked' },
  ]),
  stack('links a new name to a file of a lower layer, and writes through it', FILES, [
    { do: 'link', path: '/appended', to: '/dir/linked' },
    { do: 'append', path: '/dir/linked', content: '!' },
  ]),
  stack('keeps hard links that are created before or after the file is modified in the same layer', FILES, [
    { do: 'append', path: '/appended', content: '1' },
    { do: 'link', path: '/appended', to: '/after' },
    { do: 'link', path: '/patched', to: '/before' },
    { do: 'append', path: '/patched', content: '2' },
  ]),
  stack(
    'distinguishes names with a common prefix',
    [
      { do: 'mkdir', path: '/dir' },
      { do: 'create', path: '/dir/file', content: '1' },
      { do: 'mkdir', path: '/dir-x' },
      { do: 'create', path: '/dir-x/file', content: '2' },
      { do: 'create', path: '/dir.x', content: '3' },
    ],
    [{ do: 'remove', path: '/dir' }],
  ),
  stack(
    'keeps names with any UTF-8, spaces and newlines',
    [
      { do: 'mkdir', path: '/ünïcödé 🎈' },
      { do: 'create', path: '/ünïcödé 🎈/new\nline', content: '1' },
      { do: 'create', path: `/${'l'.repeat(255)}`, content: '2' },
      { do: 'create', path: '/-rf', content: '3' },
      { do: 'create', path: '/back\\slash:"quoted",', content: '4' },
    ],
    [
      { do: 'append', path: '/ünïcödé 🎈/new\nline', content: '5' },
      { do: 'remove', path: '/-rf' },
    ],
  ),
  stack(
    'keeps devices and fifos',
    [
      { do: 'mknod', path: '/null', type: 'char', mode: 0o666, major: 1, minor: 3 },
      { do: 'mknod', path: '/disk', type: 'block', mode: 0o660, major: 259, minor: 70_000 },
      { do: 'mknod', path: '/pipe', type: 'fifo', mode: 0o620 },
    ],
    [
      { do: 'chmod', path: '/null', mode: 0o600 },
      { do: 'remove', path: '/disk' },
    ],
  ),
  stack(
    'keeps times before 1970 and after 2038, to the nanosecond',
    [
      { do: 'create', path: '/early', content: '' },
      { do: 'mtime', path: '/early', ns: -1_000_000_001n },
      { do: 'create', path: '/late', content: '' },
      { do: 'mtime', path: '/late', ns: 4_102_444_800_987_654_321n },
    ],
    [{ do: 'chmod', path: '/early', mode: 0o600 }],
  ),
  {
    name: 'gives each child of a layer its own content',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.container('one', 'base', CHANGES)
      await subject.container('two', 'base', [{ do: 'create', path: '/only', content: 'in two' }])
      for (const id of ['base', 'one', 'two']) await subject.mustMatchReference(id)
    },
  },
  {
    name: 'shows the attributes of the root directory through layers that do not change it',
    async run(subject) {
      await subject.layer('base', undefined, [
        { do: 'chown', path: '/', uid: 7, gid: 8 },
        { do: 'chmod', path: '/', mode: 0o711 },
      ])
      await subject.layer('middle', 'base')
      await subject.container('top', 'middle')
      await subject.mustMatchReference('top')
    },
  },
  {
    name: 'shows new content under the name that was written, and new or old content under its other names',
    async run(subject) {
      await subject.layer('base', undefined, LINKED)
      await subject.driver.createReadWrite('container', 'base')
      await subject.inView('container', async (fs) => {
        await fs.appendFile('/one', '!')
        assert.equal(await fs.readFile('/one', 'utf8'), 'linked!')
        assert.match(await fs.readFile('/two', 'utf8'), /^linked!?$/)
      })
      await subject.mustMatchReference('base')
    },
  },
]

function stack(name: string, ...layers: readonly (readonly Edit[])[]): ConformanceCase {
  return {
    name,
    async run(subject) {
      const ids = layers.map((_, index) => `layer${index}`)
      for (const [index, edits] of layers.entries())
        await subject.layer(`layer${index}`, ids[index - 1], edits)
      for (const id of ids) await subject.mustMatchReference(id)
      for (const [index, id] of ids.entries()) await mustComeBack(subject, id, ids[index - 1])
      await subject.reopen()
      for (const id of ids) await subject.mustMatchReference(id)
    },
  }
}

/** Diff, apply, diff: checks for the same tree, the same bytes and the same size. */
export async function mustComeBack(subject: Subject, id: string, parent: string | undefined): Promise<void> {
  const again = `${id}-again`
  const tar = await subject.diff(id, parent)
  await subject.driver.create(again, parent)
  const size = await subject.apply(again, parent, tar)
  same(await subject.fullTree(again), await subject.fullTree(id), `the layer made from the diff of ${id}`)
  assert.ok(
    (await subject.diff(again, parent)).equals(tar),
    `the diff of ${again} differs from that of ${id}`,
  )
  assert.equal(
    await subject.driver.diffSize(id, parent),
    size,
    'diffSize differs from the size that applyDiff returned',
  )
  assert.deepEqual(await subject.changes(again, parent), await subject.changes(id, parent))
}
