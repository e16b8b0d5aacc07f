import * as fc from 'fast-check'
import { showStep, type FileStep, type FsStep, type LayerStep, type RawStep, type Step } from './step.js'

/** Few names, so that steps often use the same one. One name is not UTF-8. */
const name = weighted([10, 'a'], [10, 'b'], [8, 'c'], [4, 'd'], [2, '\xff\x01'])
const plainPath = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('a', 'a/a', 'a/b', 'a/c', 'b', 'c', 'd/a', 'd/b', 'a/b/a', 'b/a') },
  { weight: 2, arbitrary: name },
  { weight: 3, arbitrary: joined(name, name) },
  { weight: 3, arbitrary: joined(name, name, name) },
)
/** Sometimes the name of a whiteout. */
const path = fc.oneof(
  { weight: 60, arbitrary: plainPath },
  { weight: 1, arbitrary: joined(name, fc.constantFrom('.wh.a', '.wh..wh..opq')) },
)
/** Sometimes with `.`, `..` or a trailing slash, which need path resolution. */
const way = fc.oneof(
  { weight: 8, arbitrary: plainPath },
  { weight: 1, arbitrary: joined(plainPath, weighted([2, ''], [1, '.'], [1, '..'])) },
  { weight: 1, arbitrary: joined(name, fc.constant('..'), plainPath) },
)
/** Paths that calls with two paths often use. The second does not exist at first. */
const PAIRS: readonly [string, string][] = [
  ['b', 'a/d'],
  ['a/a', '\xff\x01'],
  ['a/b', '\xff\x01'],
]
const target = fc.oneof(
  { weight: 3, arbitrary: plainPath },
  { weight: 2, arbitrary: plainPath.map((to) => `/${to}`) },
  { weight: 2, arbitrary: plainPath.map((to) => `../${to}`) },
  { weight: 1, arbitrary: fc.constant('.') },
)
const mode = fc.constantFrom(0o600, 0o644, 0o755, 0o1777, 0o2755, 0o4711, 0o6755, 0o400)
const content = fc.tuple(fc.nat(40), fc.nat(999)).map(([length, mark]) => 'x'.repeat(length) + mark)
const size = weighted([4, 0], [4, 3], [4, 70], [3, 5000], [1, 70_000])
const offset = weighted([6, 0], [2, 5], [2, 50], [1, 9000])
const owner = fc.constantFrom(0, 1, 1000, 65_534, 100_000)
const mtimeNs = fc.constantFrom(
  0n,
  -1_500_000_000n,
  1n,
  999_999_999_999_999_999n,
  2n ** 32n * 1_000_000_000n + 5n,
)
const flags = fc.constantFrom('', 'creat', 'creat excl', 'creat trunc', 'trunc', 'append', 'creat append')
const openFlags = fc.constantFrom('r', 'r', 'r+', 'w', 'wx', 'w+', 'a', 'ax', 'a+')
const xattr = weighted(
  [4, 'user.one'],
  [4, 'user.two'],
  [2, 'trusted.three'],
  [1, 'user.overlay.x'],
  [1, 'none'],
)
const flag = fc.constantFrom('create', 'replace')
const file = fc.nat(2)
const layer = fc.nat(9)

const raw: readonly Weighted<RawStep>[] = [
  step(14, 'write', { path, flags, mode, at: offset, content }),
  step(3, 'read', { path }),
  step(2, 'lstat', { path }),
  step(3, 'readdir', { path }),
  step(1, 'readlink', { path }),
  step(1, 'listxattr', { path }),
  step(9, 'mkdir', { path, mode }),
  step(6, 'rmdir', { path }),
  step(8, 'unlink', { path }),
  two(14, 'rename', path),
  two(6, 'link', path),
  step(4, 'symlink', { path, target }),
  step(4, 'mknod', {
    path,
    type: fc.constantFrom('fifo', 'socket', 'char', 'block'),
    mode,
    minor: fc.nat(2),
  }),
  step(5, 'chmod', { path, mode }),
  step(5, 'chown', { path, uid: owner, gid: owner }),
  step(4, 'utimes', { path, mtimeNs }),
  step(4, 'truncate', { path, size }),
  step(5, 'setxattr', { path, name: xattr, value: content }, { flag }),
  step(3, 'removexattr', { path, name: xattr }),
  step(1, 'getxattr', { path, name: xattr }),
]

const plainFs: readonly Weighted<FsStep>[] = [
  step(5, 'fs.writeFile', { path: way, content }),
  step(4, 'fs.appendFile', { path: way, content }),
  step(2, 'fs.writeStream', { path: way, content }, { start: offset }),
  step(2, 'fs.readStream', { path: way, start: offset, end: size }),
  step(2, 'fs.readFile', { path: way }),
  step(2, 'fs.stat', { path: way }),
  step(2, 'fs.realpath', { path: way }),
  step(2, 'fs.readdir', { path: way }),
  step(1, 'fs.readlink', { path: way }),
  step(3, 'fs.mkdirs', { path: way }),
  step(3, 'fs.mkdir', { path: way, mode }),
  step(4, 'fs.rm', { path: way }),
  step(2, 'fs.unlink', { path: way }),
  step(2, 'fs.rmdir', { path: way }),
  two(3, 'fs.copyFile', way),
  two(4, 'fs.rename', way),
  two(3, 'fs.link', way),
  step(3, 'fs.symlink', { path: way, target }),
  step(2, 'fs.chmod', { path: way, mode }),
  step(1, 'fs.access', { path: way, mode: fc.nat(7) }),
  step(1, 'fs.chown', { path: way, uid: owner, gid: owner }),
  step(1, 'fs.lchown', { path: way, uid: owner, gid: owner }),
  step(1, 'fs.utimes', { path: way, mtimeNs }),
  step(1, 'fs.lutimes', { path: way, mtimeNs }),
  step(3, 'fs.truncate', {
    path: way,
    size: fc.oneof({ weight: 40, arbitrary: size }, fc.constant(1_100_000)),
  }),
]
const calls = oneOf(plainFs)
const fs: readonly Weighted<FsStep>[] = [...plainFs, step(3, 'fs.both', { steps: fc.tuple(calls, calls) })]

const files: readonly Weighted<FileStep>[] = [
  step(9, 'file.open', { file, path: way, flags: openFlags }),
  step(3, 'file.read', { file, length: size }, { at: offset }),
  step(5, 'file.write', { file, content }, { at: offset }),
  step(2, 'file.writeFile', { file, content }),
  step(3, 'file.truncate', { file, size }),
  step(3, 'file.chmod', { file, mode }),
  step(2, 'file.chown', { file, uid: owner, gid: owner }),
  step(2, 'file.utimes', { file, mtimeNs }),
  step(2, 'file.readFile', { file }),
  step(2, 'file.stat', { file }),
  step(1, 'file.sync', { file }),
  step(2, 'file.close', { file }),
]

const layers: readonly Weighted<LayerStep>[] = [
  step(8, 'layer.commit', {
    how: weighted([4, 'in place'], [2, 'adopt'], [2, 'diff'], [2, 'diff of the other']),
  }),
  step(2, 'layer.container', { on: layer }),
  step(1, 'layer.enter', { layer }),
  step(1, 'layer.remove', { layer }),
  step(1, 'layer.compare', { layer }),
  step(2, 'layer.get', { volatile: fc.boolean() }),
  step(1, 'layer.reopen', {}),
]

const anyStep: fc.Arbitrary<Step> = oneOf<Step>([...raw, ...fs, ...files, ...layers])

/** Calls of `SyncFs`, equal for equal seeds. None creates a whiteout, so they can run in a layer's own directory. */
export function rawSteps(seed: number, count: number): RawStep[] {
  const steps = fc.sample(oneOf(raw), { seed, numRuns: count })
  return steps.filter((each) => !/\.wh\.|overlay/.test(showStep(each)))
}

/** The number of step kinds. */
export const KINDS = raw.length + fs.length + files.length + layers.length

/** Sequences of up to `length` steps. Shrinking removes ranges of steps first, then single steps. */
export function stepsOf(
  length: number,
  failedAt: (steps: readonly Step[]) => number | undefined,
): fc.Arbitrary<Step[]> {
  return new Sequences(fc.array(anyStep, { maxLength: length, size: 'max' }), failedAt)
}

class Sequences extends fc.Arbitrary<Step[]> {
  readonly #drawn: fc.Arbitrary<Step[]>
  readonly #failedAt: (steps: readonly Step[]) => number | undefined

  constructor(drawn: fc.Arbitrary<Step[]>, failedAt: (steps: readonly Step[]) => number | undefined) {
    super()
    this.#drawn = drawn
    this.#failedAt = failedAt
  }

  generate(random: fc.Random, bias: number | undefined): fc.Value<Step[]> {
    return new fc.Value(this.#drawn.generate(random, bias).value, undefined)
  }

  canShrinkWithoutContext(value: unknown): value is Step[] {
    return Array.isArray(value)
  }

  shrink(steps: Step[]): fc.Stream<fc.Value<Step[]>> {
    return fc.stream(shorter(steps, this.#failedAt(steps))).map((each) => new fc.Value(each, undefined))
  }
}

/** Removes the steps after the failed one, then ever smaller ranges, and then simplifies each step. */
function* shorter(steps: Step[], failedAt: number | undefined): Generator<Step[], void> {
  if (failedAt !== undefined && failedAt + 1 < steps.length) return yield steps.slice(0, failedAt + 1)
  for (
    let length = Math.ceil(steps.length / 2);
    length >= 1;
    length = length === 1 ? 0 : Math.ceil(length / 2)
  ) {
    for (let end = steps.length; end > 0; end -= length) {
      yield [...steps.slice(0, Math.max(0, end - length)), ...steps.slice(end)]
    }
  }
  for (const [index, each] of steps.entries()) {
    for (const simple of simpler(each)) yield steps.with(index, simple)
  }
}

function* simpler(each: Step): Generator<Step, void> {
  if (each.do === 'fs.both') return yield* each.steps
  for (const [key, value] of Object.entries(each)) {
    for (const simple of simplerValues(key, value)) yield { ...each, [key]: simple } as Step
  }
}

function* simplerValues(key: string, value: unknown): Generator<unknown, void> {
  if (key === 'path' || key === 'to') {
    const names = (value as string).split('/')
    if (names.length > 1) for (const left of names.keys()) yield names.toSpliced(left, 1).join('/')
  } else if (key === 'mode' && value !== 0o644) yield 0o644
  else if (key === 'content' && value !== 'x') yield 'x'
  else if (typeof value === 'number' && key !== 'mode' && value > 0) yield* [0, value - 1]
}

type Weighted<T> = fc.WeightedArbitrary<T>

/** A kind of step with its required and optional fields. */
function step<K extends Step['do']>(
  weight: number,
  kind: K,
  always: Record<string, fc.Arbitrary<unknown>>,
  sometimes: Record<string, fc.Arbitrary<unknown>> = {},
): Weighted<Extract<Step, { do: K }>> {
  const model = { do: fc.constant(kind), ...always, ...sometimes }
  const requiredKeys = ['do', ...Object.keys(always)]
  const arbitrary = fc.record(model, { requiredKeys, noNullPrototype: true } as never)
  return { weight, arbitrary: arbitrary as unknown as fc.Arbitrary<Extract<Step, { do: K }>> }
}

/** Some pairs of paths are frequent, in both directions, so that a name is often renamed to its hard link. */
function two<K extends 'rename' | 'link' | 'fs.copyFile' | 'fs.rename' | 'fs.link'>(
  weight: number,
  kind: K,
  operand: fc.Arbitrary<string>,
): Weighted<{ readonly do: K; readonly path: string; readonly to: string }> {
  const often = fc.constantFrom<[string, string][]>(
    ...PAIRS,
    ...PAIRS.map(([a, b]): [string, string] => [b, a]),
  )
  const operands = fc.oneof(
    { weight: 3, arbitrary: fc.tuple(operand, operand) },
    { weight: 2, arbitrary: often },
  )
  return { weight, arbitrary: operands.map(([from, to]) => ({ do: kind, path: from, to })) }
}

function oneOf<T>(kinds: readonly Weighted<T>[]): fc.Arbitrary<T> {
  return fc.oneof(...kinds)
}

function weighted<T>(...values: readonly [weight: number, value: T][]): fc.Arbitrary<T> {
  return fc.oneof(...values.map(([weight, value]) => ({ weight, arbitrary: fc.constant(value) })))
}

function joined(...parts: readonly fc.Arbitrary<string>[]): fc.Arbitrary<string> {
  return fc.tuple(...parts).map((names) => names.join('/'))
}
