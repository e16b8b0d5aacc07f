/**
 * Prints failures, what was not run and why, and `N passed, N failed` as the last line.
 * @param {import('./vitest.mjs').Run[]} runs
 * @param {{ strict: boolean, filesNotRun: number }} options `strict`: a skipped test is a failure
 * @returns {boolean} whether all is well
 */
export function report(runs, { strict, filesNotRun }) {
  const all = runs.flatMap((run) => run.tests)
  const skipped = skippedEverywhere(all)
  const passed = all.filter(({ status }) => status === 'passed').length
  const failures = runs.flatMap(({ name, tests }) =>
    tests.filter(({ status }) => status === 'failed').map((test) => ({ ...test, name })),
  )
  for (const { name, id, message } of failures)
    console.log(`\nFailed as ${name}: ${id}\n${firstLines(message)}`)
  const reasons = countByReason(skipped)
  if (reasons.length > 0 || filesNotRun > 0) console.log('\nNot run:')
  for (const { reason, count } of reasons) console.log(`${String(count).padStart(7)} tests: ${reason}`)
  if (filesNotRun > 0) {
    console.log(
      `${String(filesNotRun).padStart(7)} files: they take minutes or need other programs; npm run test:all`,
    )
  }
  if (strict && skipped.length > 0) {
    console.log(`\nIn CI a skipped test is a failure:\n${skipped.map(({ id }) => `  ${id}`).join('\n')}`)
  }
  const failed = failures.length + (strict ? skipped.length : 0)
  console.log(`\n${passed} passed, ${failed} failed`)
  return failed === 0 && passed > 0
}

/**
 * Tests that ran under no identity, each once.
 * @param {import('./vitest.mjs').TestResult[]} all
 */
function skippedEverywhere(all) {
  const ran = new Set(all.filter(({ status }) => status !== 'skipped').map(({ id }) => id))
  return [...new Map(all.filter(({ id }) => !ran.has(id)).map((test) => [test.id, test])).values()]
}

/** @param {import('./vitest.mjs').TestResult[]} skipped */
function countByReason(skipped) {
  const counts = new Map()
  for (const { reason = 'no reason given' } of skipped) counts.set(reason, (counts.get(reason) ?? 0) + 1)
  return [...counts].map(([reason, count]) => ({ reason, count })).toSorted((a, b) => b.count - a.count)
}

function firstLines(text = '') {
  return text.split('\n', 20).join('\n')
}
