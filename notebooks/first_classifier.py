"""The first tutorial as a notebook: from rows to a classifier, looked at row by row.

    pip install '.[docs]'                           # from a clone
    marimo edit notebooks/first_classifier.py       # or: marimo run …, to read it

Plain Python: `python notebooks/first_classifier.py` runs it too. The classifier is written to `notebook/`, in the
directory that it is started in.
"""

import marimo

app = marimo.App(width="medium")


@app.cell(hide_code=True)
def _():
    import marimo as mo

    mo.md("""
    # A classifier, row by row

    Sort the mail to a returns desk by what happens next. A program writes the mails, so nothing is downloaded. Training
    takes half a minute on one core.
    """)
    return (mo,)


@app.cell
def _(mo):
    from dhrd.data.policy_desk import PolicyDesk

    train_rows = list(PolicyDesk(rows=1600, hops=2).generate("train"))
    test_rows = list(PolicyDesk(rows=500, hops=2).generate("test"))
    mo.ui.table([{name: row[name] for name in ("input_text", "label", "rationale")} for row in train_rows[:50]])
    return test_rows, train_rows


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## Train

    Choose with `learn` what the model learns besides the labels. *nothing* trains the pooled baseline. With
    *rationales*, the same forward pass also learns to write the column `rationale`, by a second head that the
    classifier does not need.
    """)
    return


@app.cell
def _(mo):
    learn = mo.ui.radio(["nothing", "rationales"], value="nothing", label="learn")
    learn
    return (learn,)


@app.cell
def _(learn, train_rows):
    import dhrd

    config = dhrd.load_config(
        model__name_or_path="scratch:package:dhrd/experiments/desk_llama/config.json",
        data__max_input_tokens=128,
        data__max_sequence_tokens=256,
        loss__reasoning_weight=1.0 if learn.value == "rationales" else 0.0,
        training__num_epochs=6,
        training__learning_rate=3e-3,
        training__batch_size=20,
        output_dir="notebook",
    )
    trained = dhrd.train(config, train_dataset=train_rows, overwrite=True)
    return dhrd, trained


@app.cell
def _(dhrd, mo, test_rows, trained):
    evaluation = dhrd.evaluate(trained.output_dir, test_rows)
    accuracy, (low, high) = evaluation.metrics["accuracy"], evaluation.metrics["interval_95"]["accuracy"]
    mo.md(f"""
    ## How good is it?

    Its accuracy on {len(test_rows)} unseen rows is **{accuracy:.3f}** (95 % interval {low:.3f} to {high:.3f}).
    Always answering the commonest label would be right on {evaluation.outcomes.gold_BC.mean(axis=0).max():.3f}.
    """)
    return (accuracy,)


@app.cell
def _(dhrd, mo, test_rows, trained):
    classifier = dhrd.Classifier.from_pretrained(trained.output_dir)
    answers = classifier.predict(test_rows)
    wrong = [
        {"input_text": row["input_text"], "label": row["label"], "answer": answer, "why": row["rationale"]}
        for row, answer in zip(test_rows, answers, strict=True)
        if answer != row["label"]
    ]
    mo.vstack([mo.md(f"## Where it is wrong\n\n{len(wrong)} rows, with the reasons that apply:"), mo.ui.table(wrong)])
    return classifier, wrong


@app.cell
def _(mo):
    mail = mo.ui.text_area("I bought a kettle from you five days ago. It was broken when it arrived.", full_width=True)
    mail
    return (mail,)


@app.cell
def _(classifier, mail, mo):
    (probability_C,) = classifier.predict_proba([mail.value])
    named = zip(classifier.labels.names, probability_C.tolist(), strict=True)
    mo.md("\n".join(f"- {name}: {probability:.2f}" for name, probability in named))
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    Next: [rationales and their audit](../docs/tutorials/2-rationales.md), and whether they help:
    [is it better, and how sure?](../docs/tutorials/3-is-it-better.md)
    """)
    return


if __name__ == "__main__":
    app.run()
