"""The seconds of each stage."""

from figures import picture

from fruits import plots


def test_stage_seconds_has_a_bar_for_each_stage_and_the_total_in_its_title():
    figure = plots.stage_seconds({"session": 4.0, "extract": 1234.5, "total": 1240.0})
    picture(figure)
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["session", "extract"]
    assert [bar.get_width() for bar in axes.patches] == [4.0, 1234.5]
    assert [text.get_text() for text in axes.texts] == ["4.0", "1,234.5"]
    assert "1,240.0 in total" in axes.get_title()
    assert axes.yaxis_inverted()  # the first stage is on top
